"""What can be declared: the shapes of streams, consumers and buckets, and the units that they are given in."""

from typing import Literal

import msgspec

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR
GIB = 1024**3

Storage = Literal["file", "memory"]


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream is for and how long it keeps what it holds."""

    name: str
    subjects: tuple[str, ...]
    description: str
    why: str = ""
    """Why its limits are what they are; for whoever wants to change them."""
    retention: Literal["limits", "workqueue"] = "limits"
    discard: Literal["old", "new"] = "new"
    storage: Storage = "file"
    max_age: float = 0.0
    """seconds; 0 keeps for ever."""
    max_bytes: int = -1
    max_msgs: int = -1
    max_msgs_per_subject: int = -1
    discard_new_per_subject: bool = False
    duplicate_window: float = 2 * MINUTE
    """seconds in which a repeated `Nats-Msg-Id` is dropped."""
    replicas: int = 0
    """Copies in a cluster; 0 is as many as the site asks for (`BILLOW_REPLICAS`)."""


class ConsumerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A durable pull consumer. The server never gives up by itself (`max_deliver=-1`, no backoff): we do."""

    stream: str
    durable: str
    filters: tuple[str, ...]
    ack_wait: float
    """seconds until the server thinks its holder dead; a living holder says so at a third of it."""
    max_ack_pending: int
    """Messages handed out or waiting for a delayed redelivery. High where documents may wait for an absent model."""
    description: str = ""
    service: str = ""
    """Whose replicas share it; what is scaled by its lag."""


class BucketSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A key-value or object store bucket."""

    name: str
    description: str
    why: str = ""
    """Why its limits are what they are."""
    kind: Literal["keys", "objects"] = "keys"
    ttl: float = 0.0
    """seconds that an entry lives; 0 is for ever."""
    history: int = 1
    """Versions kept of a key; of objects there is one."""
    storage: Storage = "file"
    replicas: int = 0
    """As of a stream."""
    said_again: str = ""
    """Core subject under which the server says each stored change again, the key its last token; empty for none."""

    @property
    def stream(self) -> str:
        """Name of the stream behind it."""
        return f"{'KV' if self.kind == 'keys' else 'OBJ'}_{self.name}"
