"""What an erasure is about: which submissions are to be forgotten, and which came later and stay."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.erasure.messages import AT_ONCE, Found, first_sequence, scan, walk
from billow.bus.topology import DOCUMENTS
from billow.schemas import codec, subjects
from billow.schemas.events import EVENT_NAMES, Analyzed, Erased, Event, Recognized, Submitted

ALL = "*"
_SUBMITTED = EVENT_NAMES[Submitted]
_ERASED = EVENT_NAMES[Erased]


class Submission(NamedTuple):
    """One `submitted` event."""

    sequence: int
    occurred_at: datetime
    key: str
    """Of its original."""


class Reach:
    """Which messages of a tenant an erasure takes: by the places of submissions in the stream, not by clients' clocks.

    What was submitted below `border` goes, with all that derives from it, however late that is stated. A submission at
    `border` or above is a new document, also under an old id.
    """

    def __init__(self, tenant: str, document_id: str | None, *, border: int, time: datetime, partial: bool) -> None:
        """`document_id` None is the whole tenant; `partial`: only those of its documents that are in `old`.

        `time` is when the server stored what lies at `border`.
        """
        self.tenant = tenant
        self.document_id = document_id
        self.border = border
        self.time = time
        self.partial = partial
        self.old: dict[str, dict[int, Submission]] = {}
        """Document -> revision -> its last submission below the border, as far as the stream still holds it."""
        self.new: dict[str, dict[int, Submission]] = {}
        """The same of those that stay."""

    @property
    def token(self) -> str:
        """What stands for the document in a subject."""
        return self.document_id or ALL

    @property
    def keys(self) -> dict[str, str]:
        """Object name -> document, of originals that go."""
        kept = {each.key for revisions in self.new.values() for each in revisions.values()}
        return {
            each.key: document
            for document, revisions in self.old.items()
            for each in revisions.values()
            if each.key not in kept
        }

    def is_about(self, document_id: str) -> bool:
        """Whether anything of this document goes."""
        if self.document_id is not None:
            return document_id == self.document_id
        return not self.partial or document_id in self.old

    def takes(self, document_id: str, revision: int | None, stored_at: datetime) -> bool:
        """Whether something outside `DOCUMENTS` goes that was stored then; None where its revision is not known."""
        if not self.is_about(document_id):
            return False
        new = self.new.get(document_id)
        if not new:
            return True
        if revision is not None and revision not in new:
            return not self.partial or revision in self.old[document_id]
        return stored_at < self.time

    def takes_event(self, found: Found) -> bool:
        """Whether a message of `DOCUMENTS` goes. An erasure itself never does."""
        _, _, name, document_id = found.subject.split(".", 3)
        if name == _ERASED or not self.is_about(document_id):
            return False
        if found.sequence < self.border:
            return True
        new = self.new.get(document_id)
        if name == _SUBMITTED or not new:
            return name != _SUBMITTED
        event = read_event(found)
        return event is not None and not _belongs(event, found.sequence, new.get(event.revision))


def read_event(found: Found) -> Event | None:
    """The event that a message of `DOCUMENTS` or `RUNS` holds; None if it cannot be read."""
    name = found.subject.split(".")[-2]
    type_ = next((each for each, event in EVENT_NAMES.items() if event == name), None)
    if type_ is None:
        return None
    try:
        return codec.decode(found.data, type_, found.fields.get(headers.CONTENT_TYPE))
    except codec.CodecError:
        return None


def submitted_at(event: Event) -> datetime | None:
    """When the document was submitted, as its submitter said; None where the event does not tell."""
    if isinstance(event, Submitted):
        return event.occurred_at
    return event.origin.submitted_at if isinstance(event, Recognized | Analyzed) else None


def _belongs(event: Event, sequence: int, submission: Submission | None) -> bool:
    """Whether an event may derive from this submission."""
    if submission is None or sequence < submission.sequence:
        return False
    said = submitted_at(event)
    return said is None or said == submission.occurred_at


async def stored_at(bus: Bus, event: Erased, sequence: int) -> datetime:
    """When the server stored an `erased` event; what it says itself where the stream does not have it any more.

    Raises:
        TransientError: NATS does not answer.
    """
    subject = subjects.document(event.tenant, _ERASED, event.document_id)
    async with contextlib.aclosing(walk(bus, DOCUMENTS.name, subject, start=sequence)) as messages:
        async for found in messages:
            if found.sequence == sequence:
                return found.time
            break
    return event.occurred_at


async def measure(bus: Bus, event: Erased, sequence: int, stored_at: datetime) -> Reach:
    """Look what an `erased` event reaches now. `sequence` and `stored_at`: where and when the stream has it.

    Raises:
        TransientError: NATS does not answer.
    """
    tenant, document_id = event.tenant, event.document_id if event.scope == "document" else None
    border, time = sequence, stored_at
    if event.before is not None:
        time = min(event.before, stored_at)
        border = min(await first_sequence(bus, DOCUMENTS.name, f"documents.{tenant}.*.*", time) or sequence, sequence)
    reach = Reach(
        tenant, document_id, border=border, time=time, partial=document_id is None and event.before is not None
    )
    subject = f"documents.{tenant}.{_SUBMITTED}.{reach.token}"
    async with contextlib.aclosing(_messages(bus, subject, 1, many=document_id is None)) as messages:
        async for found in messages:
            if found.sequence >= border:
                break
            _note(reach.old, found)
    if reach.partial:
        documents = list(reach.old)
        for start in range(0, len(documents), AT_ONCE):
            await asyncio.gather(*(_find_new(bus, reach, each) for each in documents[start : start + AT_ONCE]))
        _leave_new(reach)
    else:
        await _find_new(bus, reach, reach.token)
    return reach


async def is_new(bus: Bus, event: Event, *, after: int, erased_at: datetime, since: datetime | None) -> bool:
    """Whether the document of this event was submitted after an erasure, and so is another one.

    Args:
        bus: where submissions are.
        event: any about the document; that of a run is judged by its document.
        after: place of the erasure in the stream.
        erased_at: when it was stored there.
        since: where the erasure is only about what was submitted before then.

    Raises:
        TransientError: NATS does not answer.
    """
    subject = subjects.document(event.tenant, _SUBMITTED, event.document_id)
    start = after + 1
    if since is not None:
        first = await first_sequence(bus, DOCUMENTS.name, subject, since)
        if first is None:
            return False
        start = first
    elif first := await first_sequence(bus, DOCUMENTS.name, subject, erased_at + timedelta(microseconds=1)):
        # In a stream that was restored from a backup the erasure has no place: only its time is left.
        start = min(start, first)
    said = submitted_at(event) if event.run_id is None else None
    async with contextlib.aclosing(walk(bus, DOCUMENTS.name, subject, start=start)) as messages:
        async for found in messages:
            submitted = read_event(found)
            if submitted is None or submitted.revision != event.revision:
                continue
            if said is None or submitted.occurred_at == said:
                return True
    return False


def _messages(bus: Bus, subject: str, start: int, *, many: bool) -> AsyncGenerator[Found]:
    read = scan if many else walk
    return read(bus, DOCUMENTS.name, subject, start=start)


async def _find_new(bus: Bus, reach: Reach, token: str) -> None:
    subject = f"documents.{reach.tenant}.{_SUBMITTED}.{token}"
    async with contextlib.aclosing(_messages(bus, subject, reach.border, many=token == ALL)) as messages:
        async for found in messages:
            _note(reach.new, found)


def _note(submissions: dict[str, dict[int, Submission]], found: Found) -> None:
    event = read_event(found)
    document_id = found.subject.rpartition(".")[2]
    if isinstance(event, Submitted):
        submission = Submission(found.sequence, event.occurred_at, event.image.key)
        submissions.setdefault(document_id, {})[event.revision] = submission
    else:
        # Unreadable, so it is about no revision we could name; the document's other traces go all the same.
        submissions.setdefault(document_id, {}).setdefault(
            1, Submission(found.sequence, datetime.fromtimestamp(0, UTC), subjects.original_key(document_id))
        )


def _leave_new(reach: Reach) -> None:
    """A revision that was submitted again within the time that is kept is as old as that."""
    for document, revisions in reach.new.items():
        old = reach.old.get(document, {})
        for revision in revisions:
            old.pop(revision, None)
        if not old:
            reach.old.pop(document, None)
