"""What the client can be told through the environment."""

import msgspec

from billow.runtime.settings import load


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Environment of a client, `BILLOW_<FIELD>`."""

    nats_url: str = ""
    """Servers to connect to, separated by commas; empty for the default of this machine."""
    nats_domain: str = ""
    """JetStream domain of the hub, needed behind a leaf node."""
    tenant: str = "default"

    @classmethod
    def from_environment(cls) -> "ClientSettings":
        """Read the environment. Raises UsageError for a bad value."""
        return load(cls)
