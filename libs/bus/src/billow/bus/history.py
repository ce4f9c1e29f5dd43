"""Reading what happened out of a stream: in order, page by page, and then as it happens.

By direct get in batches (ADR-31), which leaves nothing behind at the server, needs no right but that of reading, and
may be answered by any replica.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import msgspec
import structlog
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.topology import DOCUMENTS
from billow.runtime.errors import PermanentError, TransientError
from billow.runtime.tasks import end_task
from billow.schemas import codec
from billow.schemas.events import DocumentEvent

PAGE = 256
"""Messages asked for in one request."""
BATCH = 500
"""The same, of whoever reads much and waits for the whole."""
PATIENCE_SECONDS = 30.0
"""How long such a one asks again while NATS does not answer; outlasts the choice of a leader."""
MOST_SUBJECTS = 512
"""Subjects that `newest` asks about in one request; the server refuses more than 1,024."""

_PAGE_BYTES = 4 * 1024 * 1024
_BATCH_BYTES = 16 * 1024 * 1024
_SILENCE_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 0.5
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 5.0
"""seconds between two looks although nothing was heard; a message between the servers of a cluster may be lost"""

log = structlog.get_logger()


class Stored(NamedTuple):
    """One message as the stream holds it."""

    sequence: int
    subject: str
    data: bytes
    fields: Mapping[str, str]
    """Headers, those of the server too."""

    @property
    def name(self) -> str:
        """Of the event, as its subject says: `completed`."""
        return self.subject.rsplit(".", 2)[-2]

    @property
    def content_type(self) -> str | None:
        """What its publisher said."""
        return self.fields.get(headers.CONTENT_TYPE)

    @property
    def at(self) -> datetime:
        """When the server stored it."""
        return datetime.fromisoformat(self.fields["Nats-Time-Stamp"])

    @property
    def pending(self) -> int:
        """How many that match are behind it, as the replica knows that answered."""
        return int(self.fields.get("Nats-Num-Pending", 0))

    def event(self) -> DocumentEvent | None:
        """What it says; None if that cannot be read, as an event of a newer version."""
        return read_event(self.subject, self.data, self.content_type)


def read_event(subject: str, data: bytes, content_type: str | None) -> DocumentEvent | None:
    """Decode an event of any kind; one that cannot be read is logged and None."""
    try:
        # A union is no type to the checker, though it is one to the decoder.
        return codec.decode(data, cast("type[DocumentEvent]", DocumentEvent), content_type)
    except codec.CodecError as e:
        log.warning("an event that cannot be read is passed over", subject=subject, reason=str(e))
        return None


class History:
    """Reads one stream over one connection. Costs nothing to make; safe to use from many tasks."""

    def __init__(self, bus: Bus, stream: str = DOCUMENTS.name) -> None:
        """Nothing is sent yet."""
        self._bus = bus
        self._what = f"reading {stream}"
        self._subject = f"{bus.api_prefix}.DIRECT.GET.{stream}"

    async def page(
        self, subject: str, *, start: int = 1, since: datetime | None = None, limit: int = PAGE, patience: float = 0.0
    ) -> list[Stored]:
        """The next messages on `subject`, oldest first, from the sequence `start` or the time `since` on.

        Empty where there are none, else none is left out between the first and the last. `subject` may have wildcards.
        While NATS does not answer, it is asked again for `patience` seconds.

        Raises:
            TransientError: NATS does not answer.
            PermanentError: the server refuses.
        """
        return await self._page(subject, _beginning(start, since), limit, _PAGE_BYTES, patience)

    async def batches(
        self,
        subject: str,
        *,
        first: int = 1,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = BATCH,
    ) -> AsyncGenerator[list[Stored]]:
        """All messages on `subject` in the order of the stream, up to what is there now, none of them empty.

        The next batch is fetched while the caller works on one. It may be left at any point and taken up again with
        `first`.

        Args:
            subject: may have wildcards.
            first: sequence to begin with.
            since: stored at that time or later, in place of `first`.
            until: stored before that time.
            limit: messages in a batch, at most; a few where others should hardly notice.

        Raises:
            TransientError: NATS did not answer for half a minute.
            PermanentError: the server refuses.
        """

        def fetch(begin: dict[str, Any]) -> asyncio.Task[list[Stored]]:
            return asyncio.create_task(self._page(subject, begin, limit, _BATCH_BYTES, PATIENCE_SECONDS))

        ahead: asyncio.Task[list[Stored]] | None = fetch(_beginning(first, since))
        try:
            while ahead is not None and (batch := await ahead):
                # Time stamps go up with sequences, so what follows is later still.
                is_last = until is not None and batch[-1].at >= until
                ahead = None if is_last else fetch({"seq": batch[-1].sequence + 1})
                if until is not None and is_last:
                    batch = [stored for stored in batch if stored.at < until]
                if batch:
                    yield batch
        finally:
            if ahead is not None:
                await end_task(ahead)

    async def newest(self, subjects: Sequence[str], *, patience: float = 0.0) -> dict[str, Stored]:
        """Subject -> its last message, for those that have one. Raises as `page`."""
        found: dict[str, Stored] = {}
        for start in range(0, len(subjects), MOST_SUBJECTS):
            wanted = list(subjects[start : start + MOST_SUBJECTS])
            is_whole = False
            while wanted and not is_whole:
                answer = await self._ask({"multi_last": wanted, "batch": len(wanted)}, patience)
                found.update((stored.subject, stored) for stored in answer.messages)
                wanted = [subject for subject in wanted if subject not in found]
                is_whole = answer.is_whole
        return found

    async def last_sequence(self, subject: str) -> int:
        """Sequence of the last message on `subject`, which may have wildcards; 0 if there is none. Raises as `page`."""
        answer = await self._ask({"last_by_subj": subject})
        return answer.messages[-1].sequence if answer.messages else 0

    async def _page(
        self, subject: str, begin: dict[str, Any], limit: int, most_bytes: int, patience: float
    ) -> list[Stored]:
        request = {**begin, "next_by_subj": subject, "batch": limit, "max_bytes": most_bytes}
        return (await self._ask(request, patience)).messages

    async def _ask(self, request: dict[str, Any], patience: float = 0.0) -> "_Answer":
        until = time.monotonic() + patience
        while True:
            try:
                return await self._ask_once(request)
            except TransientError as e:
                if time.monotonic() >= until or self._bus.broken is not None:
                    raise
                log.debug("cannot read the stream yet", reason=str(e))
                await asyncio.sleep(_ASK_AGAIN_SECONDS)

    async def _ask_once(self, request: dict[str, Any]) -> "_Answer":
        answer = _Answer(self._what, "last_by_subj" in request)
        replies = self._bus.replies
        with translated(self._what):
            reply = await replies.open(answer.add)
            try:
                await self._bus.client.publish(self._subject, msgspec.json.encode(request), reply=reply)
                await answer.complete()
            finally:
                replies.close(reply)
        return answer

    async def follow(
        self, subject: str, *, start: int = 1, since: datetime | None = None
    ) -> AsyncGenerator[Stored | None]:
        """All messages on `subject` in the order of the stream, each once, and then those to come, without end.

        None tells that all that there was has been given, for now. While NATS does not answer it waits; restarts and
        lost connections leave no gap.

        Raises:
            BillowError: the connection is gone for good.
            PermanentError: the server refuses.
        """
        async with self._woken(subject) as wake:
            pause = _FIRST_PAUSE
            while True:
                if (broken := self._bus.broken) is not None:
                    raise broken
                wake.clear()
                try:
                    page = await self.page(subject, start=start, since=since)
                except TransientError as e:
                    log.debug("cannot read the stream yet", reason=str(e))
                    page = None
                for stored in page or ():
                    start, since = stored.sequence + 1, None
                    yield stored
                if page:
                    pause = _FIRST_PAUSE
                    if page[-1].pending > 0:
                        continue
                if page is not None:
                    yield None
                # What was just heard may not be stored yet where we read, so the first looks come soon.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await wake.wait()
                        pause = _FIRST_PAUSE
                        continue
                pause = min(2 * pause, _LONGEST_PAUSE)

    @contextlib.asynccontextmanager
    async def _woken(self, subject: str) -> AsyncGenerator[asyncio.Event]:
        wake = asyncio.Event()

        async def heard(_: Msg) -> None:
            wake.set()

        forget = self._bus.on_reconnect(wake.set)
        try:
            with translated("subscribing"):
                subscription = await self._bus.client.subscribe(subject, cb=heard)  # pyright: ignore[reportUnknownMemberType]
            try:
                yield wake
            finally:
                await self._bus.unsubscribe(subscription)
        finally:
            forget()


def _beginning(start: int, since: datetime | None) -> dict[str, Any]:
    return {"seq": start} if since is None else {"start_time": since.astimezone(UTC).isoformat()}


class _Answer:
    """The messages that answer one request, from the first on without a gap, and their end."""

    def __init__(self, what: str, single: bool) -> None:
        self.messages: list[Stored] = []
        self.is_whole = False
        """Whether that is all that was asked for."""
        self._what = what
        self._single = single
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def _last(self) -> int:
        return self.messages[-1].sequence if self.messages else 0

    def add(self, message: Msg) -> None:
        fields = message.headers or {}
        if (status := fields.get("Status")) is not None:
            self._ended(status, fields)
        # What came before may have been lost with the connection; then nothing after it counts.
        elif int(fields.get("Nats-Last-Sequence", 0)) == self._last:
            self.messages.append(Stored(int(fields["Nats-Sequence"]), fields["Nats-Subject"], message.data, fields))
            if self._single and not self._end.done():
                self.is_whole = True
                self._end.set_result(None)

    def _ended(self, status: str, fields: Mapping[str, str]) -> None:
        if self._end.done():
            return
        has_all = int(fields.get("Nats-Last-Sequence", self._last)) == self._last
        if status == "404" or (status == "204" and (has_all or self.messages)):  # nothing there; the end of the batch
            self.is_whole = has_all and not int(fields.get("Nats-Num-Pending", 0))
            self._end.set_result(None)
        elif status in {"204", "503"}:  # all was lost; nobody there, or not yet
            self._end.set_exception(TransientError(f"{self._what}: NATS does not answer", delay=2))
        else:
            text = f"{self._what}: the server refuses: {status} {fields.get('Description', '')}".rstrip()
            self._end.set_exception(PermanentError(text, code="bus_refused"))

    async def complete(self) -> None:
        """Until the server says that this is all, or nothing more; raises TimeoutError if it says nothing at all."""
        while not self._end.done():
            before = len(self.messages)
            await asyncio.wait({self._end}, timeout=_SILENCE_SECONDS)
            if not self._end.done() and len(self.messages) == before:
                self._end.cancel()
                if self.messages:
                    return
                raise TimeoutError("no answer")
        self._end.result()
