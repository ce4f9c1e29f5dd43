# pyright: reportUnknownMemberType=false
"""Key-value buckets: made when they are not there, and written to from either side of a leaf node."""

import secrets
from collections.abc import Mapping
from typing import NamedTuple, cast

import nats.js.errors
from nats.js import api
from nats.js.kv import KeyValue

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.planning.configs import Site, bucket_config
from billow.bus.planning.ensure import ensure
from billow.bus.planning.server import Server
from billow.bus.publish import publish
from billow.bus.topology import BucketSpec
from billow.runtime.errors import BillowError, PermanentError

OPERATION = "KV-Operation"
DELETED = {OPERATION: "DEL"}
"""Header of a message that says that its key is gone."""
_MARKER = "Nats-Marker-Reason"
"""Header of what the server puts where a key expired."""
_WRONG_LAST_SEQUENCE = {10071, 10164}


class WrongRevisionError(BillowError):
    """The key has another revision than expected: somebody else wrote first, and nothing was changed."""


class Entry(NamedTuple):
    """One revision of a key."""

    revision: int
    value: bytes | None
    """None where the key was deleted."""
    fields: Mapping[str, str]
    """Headers, those of the server too."""


async def open_bucket(bus: Bus, spec: BucketSpec, *, replicas: int = 0) -> KeyValue:
    """Open a declared bucket; it is made if it is not there, with `replicas` copies or one. As `ensure_stream`."""
    await ensure(Server(bus), bucket_config(spec, Site(replicas=replicas)), replicas=replicas)
    with translated(f"opening bucket {spec.name}"):
        return await bus.js.key_value(spec.name)


async def put(
    bus: Bus,
    bucket: str,
    key: str,
    value: bytes,
    *,
    expected: int | None = None,
    fields: Mapping[str, str] | None = None,
) -> int:
    """Store a value; returns its revision. `expected`: the revision that the key must have now, 0 for none.

    Raises:
        WrongRevisionError: it has another one.
        TransientError: the server did not answer.
        PermanentError: the server refuses.
    """
    # Not the client's put: between domains the server refuses `$KV.>`, and takes it under the API's prefix.
    prefix = f"{bus.api_prefix}." if bus.domain else ""
    extra = dict(fields or {})
    if expected is not None:
        extra[api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value] = str(expected)
    try:
        return await publish(
            bus,
            f"{prefix}$KV.{bucket}.{key}",
            value,
            # Tried again after a time-out, it must not meet its own first attempt.
            message_id=secrets.token_hex(12),
            stream=f"KV_{bucket}",
            extra=extra,
        )
    except PermanentError as e:
        if isinstance(e.__cause__, nats.js.errors.APIError) and e.__cause__.err_code in _WRONG_LAST_SEQUENCE:
            raise WrongRevisionError(f"{bucket}.{key} is not at revision {expected} any more") from e
        raise


async def last(bus: Bus, bucket: str, key: str) -> Entry | None:
    """The newest revision of a key, a deletion too; None where it never was. Asks the leader, so it is never stale.

    Raises:
        TransientError: the server did not answer.
    """
    with translated(f"reading {bucket}.{key}"):
        try:
            return _entry(await bus.js.get_last_msg(f"KV_{bucket}", f"$KV.{bucket}.{key}"))
        except nats.js.errors.NotFoundError:
            return None


async def revisions(bus: Bus, bucket: str, key: str) -> list[Entry]:
    """All revisions that the bucket keeps of the keys that fit, the oldest first; `key` may have wildcards.

    Raises:
        TransientError: the server did not answer.
    """
    found: list[Entry] = []
    with translated(f"reading {bucket}.{key}"):
        while True:
            after = found[-1].revision + 1 if found else 1
            try:
                message = await bus.js.get_msg(f"KV_{bucket}", seq=after, subject=f"$KV.{bucket}.{key}", next=True)
            except nats.js.errors.NotFoundError:
                return found
            found.append(_entry(message))


def _entry(message: api.RawStreamMsg) -> Entry:
    fields = cast("dict[str, str]", message.headers or {})
    gone = OPERATION in fields or _MARKER in fields
    return Entry(message.seq or 0, None if gone else message.data or b"", fields)
