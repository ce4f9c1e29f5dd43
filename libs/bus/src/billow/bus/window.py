"""How far back a stream reaches."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.topology import DOCUMENTS
from billow.runtime.errors import PermanentError

_REQUEST_SECONDS = 10.0


class Window(NamedTuple):
    """What a stream holds at one moment."""

    messages: int
    first: int
    """sequence of the oldest message that is left; one more than `last` in an empty stream"""
    last: int
    """sequence of the newest message, 0 if there never was one"""
    since: datetime | None
    """When the oldest message that is left was stored; None for an empty stream."""


class _State(msgspec.Struct, frozen=True):
    messages: int = 0
    first_seq: int = 0
    last_seq: int = 0
    first_ts: datetime | None = None


class _Info(msgspec.Struct, frozen=True):
    state: _State = _State()
    error: dict[str, object] | None = None


async def stream_window(bus: Bus, stream: str = DOCUMENTS.name) -> Window:
    """Ask the server what the stream holds now.

    Raises:
        TransientError: NATS does not answer.
        PermanentError: there is no such stream, or we may not ask.
    """
    with translated(f"looking at {stream}"):
        reply = await bus.client.request(f"{bus.api_prefix}.STREAM.INFO.{stream}", b"", timeout=_REQUEST_SECONDS)
    info = msgspec.json.decode(reply.data, type=_Info)
    if info.error is not None:
        raise PermanentError(
            f"The stream {stream} cannot be looked at: {info.error.get('description', info.error)}.", code="bus_refused"
        )
    state = info.state
    return Window(state.messages, state.first_seq, state.last_seq, state.first_ts if state.messages else None)
