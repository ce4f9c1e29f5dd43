"""Reading what happened out of the stream: in order, page by page, and then as it happens.

By direct get in batches (ADR-31), which leaves nothing behind at the server, needs no right but that of reading, and
may be answered by any replica.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

import msgspec
import structlog
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.replies import Replies
from billow.bus.topology import DOCUMENTS
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec
from billow.schemas.events import DocumentEvent

PAGE = 256
"""Messages asked for in one request."""
MOST_SUBJECTS = 512
"""Subjects that `newest` asks about in one request; the server refuses more than 1,024."""

_PAGE_BYTES = 4 * 1024 * 1024
_SILENCE_SECONDS = 5.0
_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 5.0
"""seconds between two looks although nothing was heard; a message between the servers of a cluster may be lost"""

log = structlog.get_logger()


class Stored(NamedTuple):
    """One message of the stream."""

    sequence: int
    subject: str
    data: bytes
    content_type: str | None
    pending: int
    """How many that match are behind it, as the replica knows that answered."""

    @property
    def name(self) -> str:
        """Of the event, as its subject says: `completed`."""
        return self.subject.rsplit(".", 2)[-2]

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
    """Reads one stream over one connection. Safe to use from many tasks."""

    def __init__(self, bus: Bus, stream: str = DOCUMENTS.name) -> None:
        """Nothing is sent yet."""
        self._bus = bus
        self._subject = f"{bus.api_prefix}.DIRECT.GET.{stream}"
        self._replies = Replies(bus.client)

    async def page(
        self, subject: str, *, start: int = 1, since: datetime | None = None, limit: int = PAGE
    ) -> list[Stored]:
        """The next messages on `subject`, oldest first, from the sequence `start` or the time `since` on.

        Empty where there are none. `subject` may have wildcards.

        Raises:
            TransientError: NATS does not answer.
            PermanentError: the server refuses.
        """
        start_at = {"seq": start} if since is None else {"start_time": since.astimezone(UTC).isoformat()}
        return await self._ask({**start_at, "next_by_subj": subject, "batch": limit, "max_bytes": _PAGE_BYTES})

    async def newest(self, subjects: Sequence[str]) -> list[Stored]:
        """The last message of each subject that has one. Raises as `page`."""
        found: list[Stored] = []
        for start in range(0, len(subjects), MOST_SUBJECTS):
            part = subjects[start : start + MOST_SUBJECTS]
            found += await self._ask({"multi_last": part, "batch": len(part)})
        return found

    async def last_sequence(self, subject: str) -> int:
        """Sequence of the last message on `subject`, which may have wildcards; 0 if there is none. Raises as `page`."""
        last = await self._ask({"last_by_subj": subject})
        return last[-1].sequence if last else 0

    async def _ask(self, request: dict[str, Any]) -> list[Stored]:
        answer = _Answer("last_by_subj" in request)
        with translated("reading the stream"):
            reply = await self._replies.open(answer.add)
            try:
                await self._bus.client.publish(self._subject, msgspec.json.encode(request), reply=reply)
                await answer.complete()
            finally:
                self._replies.close(reply)
        return answer.messages

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


class _Answer:
    """The messages that answer one request, and their end."""

    def __init__(self, single: bool) -> None:
        self.messages: list[Stored] = []
        self._single = single
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add(self, message: Msg) -> None:
        fields = message.headers or {}
        if (status := fields.get("Status")) is not None:
            self._ended(status, fields.get("Description", ""))
            return
        self.messages.append(
            Stored(
                int(fields["Nats-Sequence"]),
                fields["Nats-Subject"],
                message.data,
                fields.get(headers.CONTENT_TYPE),
                int(fields.get("Nats-Num-Pending", 0)),
            )
        )
        if self._single:
            self._ended("204", "")

    def _ended(self, status: str, why: str) -> None:
        if self._end.done():
            return
        if status in {"204", "404"}:  # the end of the batch; nothing there
            self._end.set_result(None)
        elif status == "503":  # nobody there, or not yet
            self._end.set_exception(TransientError("reading the stream: NATS does not answer", delay=2))
        else:
            text = f"reading the stream: the server refuses: {status} {why}".rstrip()
            self._end.set_exception(PermanentError(text, code="bus_refused"))

    async def complete(self) -> None:
        """Raises TimeoutError when nothing more arrives."""
        while not self._end.done():
            before = len(self.messages)
            await asyncio.wait({self._end}, timeout=_SILENCE_SECONDS)
            if not self._end.done() and len(self.messages) == before:
                self._end.cancel()
                raise TimeoutError("no answer")
        self._end.result()
