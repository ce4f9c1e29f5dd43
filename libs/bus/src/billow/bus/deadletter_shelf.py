# pyright: reportUnknownMemberType=false
"""Looking through the dead letters and taking them away, without ever holding all of them."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import cast

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import api

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.deadletters import read_dead_letter
from billow.bus.faults import translated
from billow.bus.topology import DEADLETTERS, RECEIPT_FAILURES
from billow.schemas.tokens import check_token

_WIDTH = 1_000
"""Sequences in the first stretch that is looked through; doubled where little is found."""
_WIDEST = 16_000
_FEW = 100
_FETCH = 500
_FETCH_SECONDS = 5.0
_IDLE_SECONDS = 30.0
_MSG_SIZE = "Nats-Msg-Size"
_NOT_THERE = {10043, 10057}
"""What the server says of a message that is not in the stream, or not any more."""
_RECORDED = frozenset(subject.rpartition(".")[2] for subject in RECEIPT_FAILURES.filters)
"""Events whose dead letters the receipt service turns into failed records."""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What a dead letter says of itself, without its payload."""

    sequence: int
    """In `DEADLETTERS`; names the letter."""
    buried_at: datetime
    code: str
    message: str
    retryable: bool
    service: str
    """Who gave up."""
    event: str
    """Of inference work the task."""
    tenant: str
    document_id: str
    """Empty where the message does not say."""
    run_id: str | None
    deliveries: int
    """Of the message, when it died; 0 if unknown."""
    subject: str
    """Where the message was published; empty if unknown."""
    stream: str
    """Where it lay; empty if unknown."""
    stream_sequence: int
    """0 if unknown."""
    size: int
    """bytes of the payload that is kept"""
    cut_from: int | None
    """bytes of the payload before it was cut; None for one that is whole."""


class WholeLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter with all that it holds."""

    letter: Letter
    headers: dict[str, str]
    """All of them, as they are stored."""
    traceback: str
    """Several lines; empty if no error was raised."""
    payload: bytes


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which letters; what is None does not matter."""

    code: str | None = None
    service: str | None = None
    event: str | None = None
    tenant: str | None = None
    document_id: str | None = None
    since: datetime | None = None
    """Buried then or later."""
    until: datetime | None = None
    """Buried before."""

    @property
    def subject(self) -> str:
        """Filter for the stream. Raises ValueError for a bad token."""
        named = {"tenant": self.tenant, "service": self.service, "event": self.event}
        return ".".join(["deadletters", *("*" if v is None else check_token(v, k) for k, v in named.items())])

    def fits(self, letter: Letter) -> bool:
        """Whether the letter is one of those."""
        return (
            self.code in (None, letter.code)
            and self.document_id in (None, letter.document_id)
            and self.tenant in (None, letter.tenant)
            and self.service in (None, letter.service)
            and self.event in (None, letter.event)
            and (self.since is None or letter.buried_at >= self.since)
            and (self.until is None or letter.buried_at < self.until)
        )


async def letters(bus: Bus, query: Query | None = None, *, newest_first: bool = True) -> AsyncGenerator[Letter]:
    """The letters that there were when this began, one stretch of the stream in memory at a time; no payloads are read.

    Raises:
        ValueError: a tenant, service or event that cannot be one.
        TransientError: NATS does not answer.
    """
    query = query or Query()
    subject = query.subject
    with translated("looking through the dead letters"):
        state = (await bus.js.stream_info(DEADLETTERS.name)).state
    low, high, width = max(1, state.first_seq), state.last_seq, _WIDTH
    while low <= high:
        first, last = (max(low, high - width + 1), high) if newest_first else (low, min(high, low + width - 1))
        found = await _stretch(bus, subject, first, last)
        for letter in reversed(found) if newest_first else found:
            if query.fits(letter):
                yield letter
        if found and _is_over(query, found, newest_first):
            return
        low, high = (low, first - 1) if newest_first else (last + 1, high)
        width = min(2 * width, _WIDEST) if len(found) < _FEW else _WIDTH


def _is_over(query: Query, found: list[Letter], newest_first: bool) -> bool:
    """Whether the rest lies outside the time that was asked for."""
    if newest_first:
        return query.since is not None and found[0].buried_at < query.since
    return query.until is not None and found[-1].buried_at >= query.until


async def _stretch(bus: Bus, subject: str, first: int, last: int) -> list[Letter]:
    """The letters from one sequence to another, oldest first."""
    config = api.ConsumerConfig(
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=first,
        ack_policy=api.AckPolicy.NONE,
        headers_only=True,
        mem_storage=True,
        num_replicas=1,
        inactive_threshold=_IDLE_SECONDS,
    )
    found: list[Letter] = []
    with translated("looking through the dead letters"):
        subscription = await bus.js.pull_subscribe(subject, stream=DEADLETTERS.name, config=config)
        info = await subscription.consumer_info()
        try:
            left = info.num_pending or 0
            while left:
                messages = await subscription.fetch(min(left, _FETCH, last - first + 1), timeout=_FETCH_SECONDS)
                found += (read for message in messages if (read := _of_message(message)).sequence <= last)
                end = messages[-1].metadata
                left = 0 if end.sequence.stream >= last else end.num_pending
        except nats.errors.TimeoutError:
            # They were taken away meanwhile.
            pass
        finally:
            await subscription.unsubscribe()
            await bus.js.delete_consumer(DEADLETTERS.name, info.name)
    return found


async def read_letter(bus: Bus, sequence: int) -> WholeLetter | None:
    """One letter with its payload; None if there is none of that number.

    Raises:
        TransientError: NATS does not answer.
    """
    with translated("reading a dead letter"):
        try:
            message = await bus.js.get_msg(DEADLETTERS.name, seq=sequence, direct=True)
        except nats.js.errors.NotFoundError:
            return None
    fields = cast("dict[str, str]", message.headers or {})
    payload = message.data or b""
    at = message.time or datetime.now(UTC)
    return WholeLetter(
        letter=_letter(message.subject or "", fields, sequence=sequence, at=at, size=len(payload)),
        headers=fields,
        traceback=headers.unescaped(fields.get(headers.DEAD_TRACEBACK, "")),
        payload=payload,
    )


async def remove(bus: Bus, sequence: int) -> bool:
    """Take a letter away for good; False if it was gone. Safe to repeat.

    Raises:
        TransientError: NATS does not answer.
        PermanentError: the server refuses.
    """
    with translated(f"removing dead letter {sequence}"):
        try:
            return await bus.js.delete_msg(DEADLETTERS.name, sequence)
        except nats.js.errors.APIError as e:
            if e.err_code in _NOT_THERE:
                return False
            raise


class Recorded:
    """Tells of a letter whether the document's failure is on record, so that nobody takes it away before."""

    def __init__(self, floor: int) -> None:
        self._floor = floor

    @classmethod
    async def read(cls, bus: Bus) -> "Recorded":
        """As it is now. Raises TransientError when NATS does not answer."""
        with translated("looking how far the receipt service is"):
            try:
                info = await bus.js.consumer_info(RECEIPT_FAILURES.stream, RECEIPT_FAILURES.durable)
            except nats.js.errors.NotFoundError:
                return cls(0)
        return cls(info.ack_floor.stream_seq if info.ack_floor else 0)

    def __call__(self, letter: Letter) -> bool:
        """Whether the receipt service has dealt with it, or need not."""
        return letter.event not in _RECORDED or letter.sequence <= self._floor


def _of_message(message: Msg) -> Letter:
    fields = message.headers or {}
    meta = message.metadata
    return _letter(
        message.subject, fields, sequence=meta.sequence.stream, at=meta.timestamp, size=_number(fields.get(_MSG_SIZE))
    )


def _letter(subject: str, fields: dict[str, str], *, sequence: int, at: datetime, size: int) -> Letter:
    read = read_dead_letter(subject, fields)
    died = fields.get(headers.DEAD_SUBJECT, "")
    stream, _, number = fields.get(headers.DEAD_SEQUENCE, "").rpartition(":")
    is_document = died.startswith(("documents.", "runs."))
    cut_from = fields.get(headers.DEAD_SIZE)
    return Letter(
        sequence=sequence,
        buried_at=at if at.tzinfo else at.replace(tzinfo=UTC),
        code=read.failure.code,
        message=read.failure.message,
        retryable=read.failure.retryable,
        service=subject.split(".")[2],
        event=read.event,
        tenant=read.tenant,
        document_id=read.document_id if is_document else fields.get(headers.DEAD_DOCUMENT, ""),
        run_id=read.run_id,
        deliveries=_number(fields.get(headers.DEAD_DELIVERIES)),
        subject=died,
        stream=stream,
        stream_sequence=_number(number),
        size=size,
        cut_from=None if cut_from is None else _number(cut_from),
    )


def _number(value: str | None) -> int:
    """0 for what is none: anybody may have written the header."""
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 20 else 0
