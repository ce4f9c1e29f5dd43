# pyright: reportUnknownMemberType=false
"""The server's word that a message is stored, for about half of what the stock client spends on it."""

import asyncio
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg

from billow.bus.connection import Bus

_STATUS = "Status"
_NO_RESPONDERS = "503"


class Ack(msgspec.Struct, frozen=True):
    """What the server says to a message that was published into a stream."""

    seq: int = 0
    """In the stream; of the one that is there already where this is a duplicate."""
    duplicate: bool = False
    error: dict[str, Any] | None = None


_read = msgspec.json.Decoder(Ack)


async def store(
    bus: Bus, subject: str, data: bytes, fields: dict[str, str], timeout: float, *, patient: bool = False
) -> Ack:
    """Publish with these headers and await the acknowledgement for `timeout` seconds; `error` of what returns is None.

    What is `patient` may wait a moment for others that go out, as nobody waits for it alone.

    Raises:
        nats.js.errors.NoStreamResponseError: no stream hears this subject now.
        nats.js.errors.APIError: the server refuses.
        nats.errors.Error: no answer in time, one that is none, or the connection is closed.
    """
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Msg | None] = loop.create_future()

    def on_answer(message: Msg) -> None:
        if not answered.done():
            answered.set_result(message)

    def on_time_out() -> None:
        if not answered.done():
            # An exception in it would keep the payload alive, in a cycle of frames.
            answered.set_result(None)

    reply = await bus.replies.open(on_answer)
    try:
        await bus.client.publish(subject, data, reply=reply, headers=fields)
        if not patient:
            bus.client.hurry()
        # Not `wait_for`, which costs as much as the rest.
        timer = loop.call_later(timeout, on_time_out)
        try:
            message = await answered
        finally:
            timer.cancel()
    finally:
        bus.replies.close(reply)
    if message is None:
        raise nats.errors.TimeoutError
    return _word_of(message)


def _word_of(message: Msg) -> Ack:
    if message.headers and message.headers.get(_STATUS) == _NO_RESPONDERS:
        raise nats.js.errors.NoStreamResponseError
    try:
        ack = _read.decode(message.data)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise nats.errors.Error(f"an acknowledgement that is none: {e}") from e
    if ack.error is not None:
        raise nats.js.errors.APIError.from_error(ack.error)
    if not ack.seq:
        raise nats.errors.Error("an acknowledgement that names no message")
    return ack
