# pyright: reportUnknownMemberType=false
"""Many stored messages at a time, in order and without a consumer, by the server's direct get in batches."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import structlog
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.runtime.errors import PermanentError, TransientError
from billow.runtime.tasks import end_task

log = structlog.get_logger()

BATCH = 500
_BATCH_BYTES = 16 * 1024 * 1024
_SUBJECTS = 250
"""Of one request for last messages; the server takes up to 1,024 results."""
_SILENCE_SECONDS = 5.0
_ATTEMPTS = 6
_END, _NOTHING = "204", {"404"}


class Stored(NamedTuple):
    """A message as the stream holds it."""

    subject: str
    sequence: int
    data: bytes
    fields: Mapping[str, str]
    """Headers, those of the server too."""

    @property
    def at(self) -> datetime:
        """When the server stored it."""
        return datetime.fromisoformat(self.fields["Nats-Time-Stamp"])


async def history(
    bus: Bus,
    stream: str,
    subject: str,
    *,
    first: int = 1,
    since: datetime | None = None,
    until: datetime | None = None,
) -> AsyncGenerator[list[Stored]]:
    """The messages on a subject (with wildcards) in the order of the stream, up to what is there now.

    The next batch is fetched while the caller works on one. Holds no state at the server, so it may be left at any
    point and taken up again with `first`.

    Args:
        bus: the connection.
        stream: its name.
        subject: may have wildcards.
        first: sequence to begin with.
        since: stored at that time or later, in place of `first`.
        until: stored before that time.

    Raises:
        TransientError: NATS does not answer.
    """
    begin: dict[str, Any] = {"seq": first}
    if since is not None:
        begin = {"start_time": since.astimezone(UTC).isoformat().replace("+00:00", "Z")}
    ahead: asyncio.Task[list[Stored]] | None = asyncio.create_task(_next(bus, stream, subject, begin))
    try:
        while ahead is not None:
            batch = await ahead
            ahead = None
            if batch:
                following = {"seq": batch[-1].sequence + 1}
                ahead = asyncio.create_task(_next(bus, stream, subject, following))
            if until is not None and batch and batch[-1].at >= until:
                # Time stamps go up with sequences, so what follows is later still.
                yield [stored for stored in batch if stored.at < until]
                return
            if batch:
                yield batch
    finally:
        if ahead is not None:
            await end_task(ahead)


async def last_messages(bus: Bus, stream: str, subjects: Sequence[str]) -> dict[str, Stored]:
    """Subject -> its last message, for those that have one.

    Raises:
        TransientError: NATS does not answer.
    """
    found: dict[str, Stored] = {}
    for start in range(0, len(subjects), _SUBJECTS):
        wanted = list(subjects[start : start + _SUBJECTS])
        whole = False
        while wanted and not whole:
            batch, whole = await _get(bus, stream, {"multi_last": wanted, "batch": len(wanted)})
            found.update((stored.subject, stored) for stored in batch)
            wanted = [subject for subject in wanted if subject not in found]
    return found


async def _next(bus: Bus, stream: str, subject: str, begin: dict[str, Any]) -> list[Stored]:
    request = {**begin, "next_by_subj": subject, "batch": BATCH, "max_bytes": _BATCH_BYTES}
    batch, _ = await _get(bus, stream, request)
    return batch


async def _get(bus: Bus, stream: str, request: dict[str, Any]) -> tuple[list[Stored], bool]:
    """The messages from the first on without a gap, at least one if there is any; and whether they are all."""
    for attempt in range(_ATTEMPTS):
        answer = _Answer()
        with translated(f"reading {stream}"):
            subscription = await bus.client.subscribe(inbox := bus.client.new_inbox(), cb=answer.take)
            try:
                await bus.client.publish(
                    f"{bus.api_prefix}.DIRECT.GET.{stream}", msgspec.json.encode(request), reply=inbox
                )
                await answer.wait()
            finally:
                await bus.unsubscribe(subscription)
        if answer.error:
            raise PermanentError(f"reading {stream}: the server refuses: {answer.error}", code="bus_refused")
        if answer.ended or answer.messages:
            return answer.messages, answer.ended
        log.debug("no answer to a batch", stream=stream, attempt=attempt)
    raise TransientError(f"reading {stream}: NATS does not answer", delay=2)


class _Answer:
    """Collects what the server says to one request."""

    def __init__(self) -> None:
        self.messages: list[Stored] = []
        self.ended = False
        self.error = ""
        self._heard = asyncio.Event()

    async def take(self, message: Msg) -> None:
        fields = message.headers or {}
        if status := fields.get("Status"):
            last = fields.get("Nats-Last-Sequence")
            known = self.messages[-1].sequence if self.messages else 0
            self.ended = status in _NOTHING or (status == _END and (last is None or int(last) == known))
            # 503: nobody answers just now, as while a leader is chosen.
            self.error = "" if self.ended or status in (_END, "503") else f"{status} {fields.get('Description', '')}"
            self._heard.set()
            return
        stored = Stored(fields["Nats-Subject"], int(fields["Nats-Sequence"]), message.data, fields)
        # What came before may have been lost with the connection; then nothing after it counts.
        if int(fields.get("Nats-Last-Sequence", 0)) == (self.messages[-1].sequence if self.messages else 0):
            self.messages.append(stored)

    async def wait(self) -> None:
        """Until the server says that this is all, or says nothing for a while."""
        while not self._heard.is_set():
            before = len(self.messages)
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._heard.wait()
            except TimeoutError:
                if len(self.messages) == before:
                    return
