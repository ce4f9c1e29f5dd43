"""A run's records made official, as new events, and taken back."""

import contextlib
from collections.abc import AsyncGenerator, Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.history import PATIENCE_SECONDS, History, Stored
from billow.bus.publish import events
from billow.bus.replay.book import ReplayBook, Run
from billow.bus.replay.reporting import outcomes
from billow.bus.replay.results import Wanted, official_records, read_record
from billow.bus.replay.selection import key_of
from billow.bus.replay.sending import EXPECTED_LAST, Outgoing, send
from billow.bus.topology import DOCUMENTS
from billow.runtime import trace
from billow.runtime.errors import UsageError
from billow.schemas import codec, subjects
from billow.schemas.events import Promoted, event_id
from billow.schemas.record import Record
from billow.schemas.replay import PromotionResult, PromotionState

_LEFT = 1_000
_SINCE = "promoted since by {}"
_NO_RECORD = "it had no record before"
_IN_BETWEEN = "another promotion came in between; do it again if this one is to count"


class _Peek(msgspec.Struct):
    promotion: str = ""
    revision: int = 1
    from_run: str = ""
    undoes: str | None = None


class _Case(NamedTuple):
    """One document that may be promoted, or taken back."""

    key: str
    record: Record
    now: Record | None
    """The official record."""
    subject: str
    last: Stored | None
    """Its last promotion, whichever that is."""

    @property
    def expected(self) -> int:
        """Sequence of its last promotion, 0 for none: if another comes in between, ours is refused."""
        return self.last.sequence if self.last is not None else 0


class _Tally:
    """Counts what became of each, and sends what is to be sent."""

    def __init__(self, bus: Bus, promotion: str) -> None:
        self._bus = bus
        self.promotion = promotion
        self.stated = self.known = self.failed = self.left_count = 0
        self._left: list[str] = []

    def leave(self, key: str, reason: str) -> None:
        """Not touched, and why."""
        self.left_count += 1
        if len(self._left) < _LEFT:
            self._left.append(f"{key.replace('.', '/', 1)}: {reason}")

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Raises TransientError."""
        sent = await send(self._bus, outgoing)
        self.stated += sent.stored
        self.known += sent.known - len(sent.others)
        for subject in sent.refused:
            self.leave(key_of(subject), "the event would be too large")
        lasts = await History(self._bus).newest(sent.others, patience=PATIENCE_SECONDS)
        for subject in sent.others:
            if (last := lasts.get(subject)) is not None and _peek(last).promotion == self.promotion:
                self.known += 1
            else:
                self.leave(key_of(subject), _IN_BETWEEN)

    def result(self) -> PromotionResult:
        return PromotionResult(
            promotion=self.promotion,
            stated=self.stated,
            known=self.known,
            failed=self.failed,
            left=tuple(self._left),
            left_count=self.left_count,
        )


async def promote(bus: Bus, run: Run, documents: Collection[str] = ()) -> PromotionResult:
    """State the run's completed records as official ones; `documents` only these.

    Doing it again, also after it was broken off or after the duplicate window, states nothing twice. After it was
    undone it is a new promotion.

    Raises:
        UsageError: the run is not at its end, or somebody else promotes or undoes it at this moment.
        TransientError: NATS does not answer; what is stated stays, and doing it again goes on.
    """
    if run.state.status == "running":
        raise UsageError(f"Run {run.spec.run_id} still runs. Wait for its report, or pause it first.")
    promotion = await _begin(bus, run)
    tally = _Tally(bus, promotion)
    async for batch in outcomes(bus, run.spec.run_id):
        records = [read_record(record) for _, record in batch]
        records = [record for record in records if not documents or record.document_id in documents]
        tally.failed += sum(record.status != "completed" for record in records)
        cases = await _cases(bus, [record for record in records if record.status == "completed"])
        await tally.send([event for case in cases if (event := await _promoted(bus, run, case, tally)) is not None])
    return tally.result()


async def undo(bus: Bus, run: Run, documents: Collection[str] = ()) -> PromotionResult:
    """Bring back the records that were official before; may be repeated as `promote`.

    Left as they are: documents that were promoted since from another run, and those that had no record before.

    Raises:
        UsageError: the run was never promoted, or somebody else promotes or undoes it at this moment.
        TransientError: NATS does not answer; doing it again goes on.
    """
    run_id, book = run.spec.run_id, ReplayBook(bus)
    state, version = await book.promotion(run_id)
    if state is None:
        raise UsageError(f"Run {run_id} was never promoted, so there is nothing to undo.")
    if not state.undone:
        undone = PromotionState(generation=state.generation, undone=True, updated_at=datetime.now(UTC))
        await book.keep_promotion(run_id, undone, version)
    tally = _Tally(bus, _name(run_id, "u", state.generation))
    seen: set[str] = set()
    async for found in _stated(bus, run, documents):
        cases = await _cases(bus, [event.record for _, event in found])
        outgoing = [_undone(case, *each, tally, seen) for case, each in zip(cases, found, strict=True)]
        await tally.send([event for event in outgoing if event is not None])
    return tally.result()


async def _begin(bus: Bus, run: Run) -> str:
    """The name of the promotion: the same until it is undone."""
    run_id, book = run.spec.run_id, ReplayBook(bus)
    state, version = await book.promotion(run_id)
    if state is None or state.undone:
        generation = (state.generation if state else 0) + 1
        state = PromotionState(generation=generation, undone=False, updated_at=datetime.now(UTC))
        await book.keep_promotion(run_id, state, version)
    return _name(run_id, "p", state.generation)


def _name(run_id: str, letter: str, generation: int) -> str:
    return f"{run_id}-{letter}{generation}"


async def _cases(bus: Bus, records: Sequence[Record]) -> list[_Case]:
    wanted = [Wanted(record.tenant, record.document_id, record.revision) for record in records]
    official = await official_records(bus, wanted)
    names = [subjects.document(record.tenant, "promoted", record.document_id) for record in records]
    lasts = await History(bus).newest(names, patience=PATIENCE_SECONDS)
    return [
        _Case(key_of(name), record, _now(record, now, lasts.get(name)), name, lasts.get(name))
        for record, now, name in zip(records, official, names, strict=True)
    ]


def _now(record: Record, official: bytes | None, last: Stored | None) -> Record | None:
    """What the last promotion says, also before the receipt service has stored it; else the outcome.

    What was promoted is replaced by nothing but another promotion.
    """
    if last is not None and _peek(last).revision == record.revision:
        with contextlib.suppress(codec.CodecError):
            return codec.decode(last.data, Promoted, last.content_type).record
    return None if official is None else read_record(official)


async def _promoted(bus: Bus, run: Run, case: _Case, tally: _Tally) -> Outgoing | None:
    """The event, unless it was stated before."""
    run_id, record = run.spec.run_id, case.record
    if (case.now is not None and case.now.promoted_from == run_id) or await _is_stated(bus, case, tally.promotion):
        tally.known += 1
        return None
    event = Promoted(
        tenant=record.tenant,
        document_id=record.document_id,
        revision=record.revision,
        event_id=event_id("promoted", record.document_id, record.revision, tally.promotion),
        occurred_at=datetime.now(UTC),
        promotion=tally.promotion,
        from_run=run_id,
        record=msgspec.structs.replace(record, run_id=None, promoted_from=run_id),
        before=case.now,
    )
    return _outgoing(event, case)


async def _is_stated(bus: Bus, case: _Case, promotion: str) -> bool:
    if case.last is None:
        return False
    if _peek(case.last).promotion == promotion:
        return True
    async for event in events(bus, Promoted, case.record.tenant, case.record.document_id):
        if (event.promotion, event.revision) == (promotion, case.record.revision):
            return True
    return False


def _undone(case: _Case, stored: Stored, event: Promoted, tally: _Tally, seen: set[str]) -> Outgoing | None:
    """The event that takes `event` back, unless something else came since."""
    last = _Peek() if case.last is None else _peek(case.last)
    is_ours = last.from_run == event.from_run
    if case.key in seen or (is_ours and last.undoes is None and case.expected != stored.sequence):
        # A later one of this run, after a part of it was undone, is what has to be taken back.
        return None
    seen.add(case.key)
    if is_ours and last.undoes is not None:
        tally.known += 1
    elif case.expected != stored.sequence:
        tally.leave(case.key, _SINCE.format(last.promotion))
    elif event.before is None:
        tally.leave(case.key, _NO_RECORD)
    else:
        back = Promoted(
            tenant=event.tenant,
            document_id=event.document_id,
            revision=event.revision,
            event_id=event_id("promoted", event.document_id, event.revision, tally.promotion),
            occurred_at=datetime.now(UTC),
            promotion=tally.promotion,
            from_run=event.from_run,
            record=event.before,
            before=event.record,
            undoes=event.promotion,
        )
        return _outgoing(back, case)
    return None


def _outgoing(event: Promoted, case: _Case) -> Outgoing:
    return Outgoing(
        case.subject,
        codec.encode(event),
        {
            headers.CONTENT_TYPE: codec.JSON,
            headers.MSG_ID: f"{event.tenant}.{event.event_id}",
            headers.EXPECTED_STREAM: DOCUMENTS.name,
            EXPECTED_LAST: str(case.expected),
            trace.HEADER: trace.child(),
        },
    )


async def _stated(bus: Bus, run: Run, documents: Collection[str]) -> AsyncGenerator[list[tuple[Stored, Promoted]]]:
    """What the run's promotions stated, also those before a part of them was undone."""
    subject = f"documents.{run.spec.tenant or '*'}.promoted.*"
    # All of them: who began the run may have had a clock that is ahead of the server's.
    async for batch in History(bus).batches(subject):
        found: list[tuple[Stored, Promoted]] = []
        for stored in batch:
            said = _peek(stored)
            if said.from_run != run.spec.run_id or said.undoes is not None:
                continue
            if documents and key_of(stored.subject).partition(".")[2] not in documents:
                continue
            found.append((stored, codec.decode(stored.data, Promoted, stored.content_type)))
        yield found


def _peek(stored: Stored) -> _Peek:
    try:
        return codec.decode(stored.data, _Peek, stored.content_type)
    except codec.CodecError:
        return _Peek()
