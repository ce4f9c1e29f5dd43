"""Which events a replay sends again."""

from collections import Counter
from collections.abc import AsyncGenerator

import msgspec

from billow.bus.connection import Bus
from billow.bus.history import History, Stored
from billow.schemas import codec
from billow.schemas.replay import ReplaySpec

OLDER, CANCELLED, OTHER_KIND, UNREADABLE = "older revision", "cancelled", "other kind", "unreadable"
"""Why an event is left out."""


class Selection(msgspec.Struct):
    """What was chosen. Takes about 200 bytes a document."""

    chosen: dict[str, int] = {}
    """`<tenant>.<document>` -> sequence in `DOCUMENTS` of the event that is sent again."""
    left_out: dict[str, int] = {}
    """Reason -> how many."""


class _Described(msgspec.Struct):
    kind: str | None = None
    status: str = ""


class _Peek(msgspec.Struct):
    """The little of an event that the choice needs; the rest is skipped."""

    revision: int = 1
    kind: str | None = None
    run_id: str | None = None
    record: _Described | None = None


def key_of(subject: str) -> str:
    """`<tenant>.<document>` of a subject in `DOCUMENTS` or `RUNS`."""
    parts = subject.split(".")
    return f"{parts[1]}.{parts[-1]}"


async def select(bus: Bus, spec: ReplaySpec) -> Selection:
    """Choose the newest revision of each document in the range, unless it was cancelled or is of another kind.

    The same spec chooses the same again, as long as the stream keeps what it held.

    Raises:
        TransientError: NATS does not answer.
    """
    wanted, left_out = frozenset(spec.documents), Counter[str]()
    newest: dict[str, tuple[int, int]] = {}
    kinds = await _kinds(bus, spec)
    async for stored in _events(bus, spec, spec.start, in_range=True):
        key = key_of(stored.subject)
        if wanted and key.partition(".")[2] not in wanted:
            continue
        peek = _peek(stored)
        if peek is None:
            left_out[UNREADABLE] += 1
            continue
        if spec.kind is not None and (peek.kind or kinds.get(key)) != spec.kind:
            left_out[OTHER_KIND] += 1
            continue
        before = newest.get(key)
        if before is not None:
            left_out[OLDER] += 1
        if before is None or peek.revision >= before[0]:
            newest[key] = (peek.revision, stored.sequence)
    for key, revision in await _cancelled(bus, spec):
        if key in newest and newest[key][0] == revision:
            del newest[key]
            left_out[CANCELLED] += 1
    chosen = {key: sequence for key, (_, sequence) in newest.items()}
    return Selection(chosen=chosen, left_out=dict(left_out))


async def _cancelled(bus: Bus, spec: ReplaySpec) -> list[tuple[str, int]]:
    """Documents and their revisions that ended by being cancelled, at whatever time."""
    return [
        (key_of(stored.subject), peek.revision)
        async for stored in _events(bus, spec, "failed", in_range=False)
        if (peek := _peek(stored)) is not None and peek.record is not None and peek.record.status == "cancelled"
    ]


async def _kinds(bus: Bus, spec: ReplaySpec) -> dict[str, str]:
    """What the records say that the documents are, as most submitters leave that open; empty if nobody asks."""
    if spec.kind is None:
        return {}
    return {
        key_of(stored.subject): peek.record.kind
        async for stored in _events(bus, spec, "completed", in_range=False)
        if (peek := _peek(stored)) is not None and peek.record is not None and peek.record.kind is not None
    }


async def _events(bus: Bus, spec: ReplaySpec, name: str, *, in_range: bool) -> AsyncGenerator[Stored]:
    subject = f"documents.{spec.tenant or '*'}.{name}.*"
    since, until = (spec.since, spec.until) if in_range else (None, None)
    async for batch in History(bus).batches(subject, since=since, until=until):
        for stored in batch:
            yield stored


def _peek(stored: Stored) -> _Peek | None:
    try:
        return codec.decode(stored.data, _Peek, stored.content_type)
    except codec.CodecError:
        return None
