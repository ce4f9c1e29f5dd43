"""One heartbeat for all messages that a consumer or a worker holds."""

import asyncio

import nats.errors
import structlog
from nats.aio.msg import Msg

log = structlog.get_logger()

_AT_ONCE = 100
"""Messages between two breaths of the event loop."""


class KeepAlive:
    """Tells the server three times in `ack_wait` that what is held is still worked on, or waits here for its turn."""

    def __init__(self, ack_wait: float) -> None:
        """`ack_wait`: seconds until the server thinks a holder dead."""
        self._every = ack_wait / 3
        self._held: dict[int, Msg] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def start(self) -> None:
        """Begin to beat, in the running event loop."""
        self._task = asyncio.create_task(self._beat())

    def hold(self, message: Msg) -> None:
        """Keep this message alive from now on."""
        self._held[id(message)] = message

    def release(self, message: Msg) -> None:
        """Its outcome is known; the server may hear no more of it."""
        self._held.pop(id(message), None)

    def stop(self) -> None:
        """Beat no more. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            for n, message in enumerate(list(self._held.values()), 1):
                if id(message) in self._held:
                    try:
                        await message.in_progress()
                    except nats.errors.Error as e:
                        log.debug("in_progress not sent", reason=repr(e))
                if n % _AT_ONCE == 0:
                    await asyncio.sleep(0)
