# pyright: reportUnknownMemberType=false
"""Other live workers of a model, asked directly: an announcement may outlive its worker, an answer cannot."""

import asyncio

import msgspec
import structlog
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.schemas import codec

log = structlog.get_logger()

_SECONDS = 3.0
"""How long an answer may take; a worker on a busy machine is not gone yet."""


class _Metadata(msgspec.Struct, frozen=True):
    worker: str = ""
    host: str = ""
    digest: str = ""


class _Info(msgspec.Struct, frozen=True):
    """What we read of an answer to `$SRV.INFO`."""

    metadata: _Metadata = _Metadata()


async def find_other_digest(bus: Bus, model: str, digest: str) -> str | None:
    """The host of a live worker that serves something else than `digest` as `model`; None if there is none.

    The first that says what it serves decides, since it would not have started beside others that differ. Ask before
    announcing oneself. Where nobody answers, or nobody may be asked, there is none.

    Raises:
        TransientError: the connection is gone.
    """
    answers: asyncio.Queue[_Metadata | None] = asyncio.Queue()

    async def on_answer(message: Msg) -> None:
        if (message.headers or {}).get("Status") == "503":
            answers.put_nowait(None)
            return
        try:
            answers.put_nowait(msgspec.json.decode(message.data, type=_Info).metadata)
        except codec.UNREADABLE as e:
            log.debug("an answer that cannot be read", reason=str(e))

    inbox = bus.client.new_inbox()
    with translated(f"asking who serves {model}"):
        subscription = await bus.client.subscribe(inbox, cb=on_answer)
        try:
            await bus.client.publish(f"$SRV.INFO.{model}", reply=inbox)
            async with asyncio.timeout(_SECONDS):
                while (other := await answers.get()) is not None:
                    if other.digest:
                        return other.host if other.digest != digest else None
        except TimeoutError:
            pass
        finally:
            await bus.unsubscribe(subscription)
    return None
