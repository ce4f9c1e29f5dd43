# pyright: reportUnknownMemberType=false
"""Finding messages of any stream and taking them out for good, one by one or all of a subject at once."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
import nats.errors
import nats.js.errors
from nats.js import api

from billow.bus.connection import Bus
from billow.bus.faults import translated

AT_ONCE = 32
"""Requests under way at once, where each is about another document."""

_FETCHED = 200
_FETCH_SECONDS = 10.0
_REQUEST_SECONDS = 60.0
_SIZE = "Nats-Msg-Size"
"""Header with the size of a payload that was left out."""
_IDLE_SECONDS = 120.0
_NO_MESSAGE = {10037, 10043, 10057}
_NO_STREAM = 10059


class Found(NamedTuple):
    """One message where it lies."""

    stream: str
    sequence: int
    subject: str
    time: datetime
    """When the server stored it."""
    data: bytes
    fields: Mapping[str, str]

    @property
    def size(self) -> int:
        """bytes of the payload, also where it was left out."""
        return int(self.fields.get(_SIZE, 0)) or len(self.data)


class _ApiError(msgspec.Struct):
    code: int = 500
    err_code: int = 0
    description: str = ""


class _Raw(msgspec.Struct):
    subject: str
    seq: int
    time: datetime
    data: bytes = b""
    hdrs: bytes = b""


class _State(msgspec.Struct):
    bytes: int = 0
    last_seq: int = 0
    num_subjects: int = 0
    subjects: dict[str, int] | None = None


class _Reply(msgspec.Struct):
    error: _ApiError | None = None
    purged: int = 0
    message: _Raw | None = None
    state: _State | None = None
    total: int = 0


_decoder = msgspec.json.Decoder(_Reply)


async def _ask(bus: Bus, what: str, stream: str, request: Mapping[str, Any]) -> _Reply | None:
    """What the stream's leader answers; None where there is no such stream or message.

    Raises:
        TransientError: the server did not answer.
        PermanentError: it refuses.
    """
    with translated(f"{what.lower()} of {stream}"):
        reply = await bus.client.request(
            f"{bus.api_prefix}.{what}.{stream}", msgspec.json.encode(request), timeout=_REQUEST_SECONDS
        )
        answer = _decoder.decode(reply.data)
        if answer.error is None:
            return answer
        if answer.error.err_code == _NO_STREAM or answer.error.err_code in _NO_MESSAGE:
            return None
        raise nats.js.errors.APIError(
            code=answer.error.code, err_code=answer.error.err_code, description=answer.error.description
        )


async def overwrite(bus: Bus, found: Found) -> bool:
    """Delete a message; the server writes noise over its bytes on disk. False if it was gone already.

    Raises:
        TransientError: the server did not answer.
    """
    return await _ask(bus, "STREAM.MSG.DELETE", found.stream, {"seq": found.sequence}) is not None


async def purge(bus: Bus, stream: str, pattern: str, *, before: int | None = None) -> int:
    """Drop all messages of the subjects that fit, those below the sequence `before` if given; returns how many.

    Quick whatever their number. Their bytes stay in the server's files until it compacts these.

    Raises:
        TransientError: the server did not answer.
    """
    request: dict[str, Any] = {"filter": pattern}
    if before is not None:
        request["seq"] = before
    answer = await _ask(bus, "STREAM.PURGE", stream, request)
    return answer.purged if answer is not None else 0


async def size_of(bus: Bus, stream: str) -> int:
    """bytes that the stream holds, 0 where there is none. Raises TransientError when the server does not answer."""
    return (await _state(bus, stream)).bytes


async def end_of(bus: Bus, stream: str) -> int:
    """Sequence of the last message that was ever stored, 0 for none.

    Raises:
        TransientError: the server did not answer.
    """
    return (await _state(bus, stream)).last_seq


async def _state(bus: Bus, stream: str) -> _State:
    answer = await _ask(bus, "STREAM.INFO", stream, {})
    return answer.state if answer is not None and answer.state is not None else _State()


async def subjects_of(bus: Bus, stream: str, pattern: str) -> dict[str, int]:
    """All subjects that fit, and how many messages each has.

    Raises:
        TransientError: the server did not answer.
    """
    found: dict[str, int] = {}
    while True:
        answer = await _ask(bus, "STREAM.INFO", stream, {"subjects_filter": pattern, "offset": len(found)})
        page = (answer.state.subjects if answer is not None and answer.state is not None else None) or {}
        found |= page
        if answer is None or not page or len(found) >= answer.total:
            return found


async def first_sequence(bus: Bus, stream: str, pattern: str, since: datetime) -> int | None:
    """The first message on these subjects that was stored at `since` or later; None if there is none.

    Raises:
        TransientError: the server did not answer.
    """
    request = {"start_time": since.astimezone(UTC).isoformat(), "next_by_subj": pattern}
    answer = await _ask(bus, "STREAM.MSG.GET", stream, request)
    return answer.message.seq if answer is not None and answer.message is not None else None


async def walk(bus: Bus, stream: str, pattern: str, *, start: int = 1) -> AsyncGenerator[Found]:
    """The messages that fit, the oldest first, one request each, as the leader has them: nothing lags.

    Raises:
        TransientError: the server did not answer.
    """
    while True:
        answer = await _ask(bus, "STREAM.MSG.GET", stream, {"seq": start, "next_by_subj": pattern})
        message = answer.message if answer is not None else None
        if message is None:
            return
        yield Found(stream, message.seq, message.subject, message.time, message.data, _fields(message.hdrs))
        start = message.seq + 1


async def scan(
    bus: Bus, stream: str, pattern: str, *, start: int = 1, headers_only: bool = False
) -> AsyncGenerator[Found]:
    """The messages that fit and are there now, the oldest first; quicker than `walk` for many of them.

    Not for work queues, which allow one consumer only.

    Raises:
        TransientError: the server did not answer.
    """
    if await _ask(bus, "STREAM.MSG.GET", stream, {"seq": max(1, start), "next_by_subj": pattern}) is None:
        # One request instead of the five of a consumer: mostly there is nothing.
        return
    with translated(f"reading {stream}"):
        try:
            subscription = await bus.js.pull_subscribe(
                pattern,
                stream=stream,
                config=api.ConsumerConfig(
                    ack_policy=api.AckPolicy.NONE,
                    deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=max(1, start),
                    headers_only=headers_only or None,
                    inactive_threshold=_IDLE_SECONDS,
                    mem_storage=True,
                    num_replicas=1,
                ),
            )
        except nats.js.errors.NotFoundError:
            return
        left = (await subscription.consumer_info()).num_pending or 0
    try:
        while left > 0:
            with translated(f"reading {stream}"):
                try:
                    messages = await subscription.fetch(min(left, _FETCHED), timeout=_FETCH_SECONDS)
                except nats.errors.TimeoutError:
                    # What was pending has been taken out meanwhile.
                    left = (await subscription.consumer_info()).num_pending or 0
                    continue
            for message in messages:
                meta = message.metadata
                left = meta.num_pending
                yield Found(
                    stream, meta.sequence.stream, message.subject, meta.timestamp, message.data, message.headers or {}
                )
    finally:
        with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, asyncio.TimeoutError):
            info = await subscription.consumer_info()
            await subscription.unsubscribe()
            await bus.js.delete_consumer(stream, info.name)


async def count(bus: Bus, stream: str, pattern: str, *, before: int | None = None) -> int:
    """How many messages fit, below the sequence `before` if given. Raises TransientError as `subjects_of`."""
    total = sum((await subjects_of(bus, stream, pattern)).values())
    if before is None:
        return total
    later = 0
    async with contextlib.aclosing(scan(bus, stream, pattern, start=before, headers_only=True)) as found:
        async for _ in found:
            later += 1
    return max(0, total - later)


def _fields(raw: bytes) -> dict[str, str]:
    lines = raw.decode("utf-8", "replace").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {key: value.strip() for key, _, value in pairs}


def object_name(subject: str) -> str:
    """The name of the object that a describing message is about; empty if the subject names none."""
    try:
        return base64.urlsafe_b64decode(subject.rpartition(".")[2]).decode()
    except ValueError:
        return ""
