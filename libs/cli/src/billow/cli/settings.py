"""What the command can be told through the environment."""

from pathlib import Path

import msgspec
import platformdirs

from billow.runtime.settings import load


class CliSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Environment of the command, `BILLOW_<FIELD>`."""

    nats_url: str = ""
    """The stack to use; empty lets `extract` start a temporary one."""
    tenant: str = "default"
    data: str = ""
    """Folder of `billow up`; empty for the user's data folder."""

    @classmethod
    def from_environment(cls) -> "CliSettings":
        """Read the environment. Raises UsageError for a bad value."""
        return load(cls)

    def data_folder(self) -> Path:
        """Where `billow up` keeps streams, database and logs."""
        return Path(self.data) if self.data else Path(platformdirs.user_data_dir("billow"))
