"""What the client can be told through the environment."""

import msgspec

from billow.runtime.settings import load
from billow.schemas.limits import MAX_DOCUMENT_BYTES


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Environment of a client, `BILLOW_<FIELD>`."""

    nats_url: str = ""
    """Servers to connect to, separated by commas; empty for the default of this machine."""
    nats_domain: str = ""
    """JetStream domain of the hub, needed behind a leaf node."""
    tenant: str = "default"
    max_bytes: int = MAX_DOCUMENT_BYTES
    """A larger document is refused before it is sent anywhere; the OCR service has the same setting."""
    patience: float = 30.0
    """seconds that handing in a document goes on trying while NATS does not answer"""
    url_timeout: float = 30.0
    """seconds in which a document must have come from its URL"""
    url_allow_private: bool = False
    """Whether a URL may lead to this machine or into a private network: only where strangers cannot choose it."""

    @classmethod
    def from_environment(cls) -> "ClientSettings":
        """Read the environment. Raises UsageError for a bad value."""
        return load(cls)
