"""What the tests can be told through the environment."""

import msgspec

from billow.runtime.settings import load


class TestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Environment of the tests, `BILLOW_<FIELD>`."""

    __test__ = False

    test_database_url: str = ""
    """A PostgreSQL server for tests, `postgresql+asyncpg://user:password@host/database`; each test makes a database of
    its own there and drops it. Empty starts a server on this machine."""

    @classmethod
    def from_environment(cls) -> "TestSettings":
        """Read the environment. Raises UsageError for a bad value."""
        return load(cls)
