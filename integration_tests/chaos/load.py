"""Documents handed in at a steady pace by clients that never give up, and a note of what they were told."""

import asyncio
import time
from collections.abc import Callable

import cv2
import numpy as np
import structlog

from billow.client import Billow
from billow.runtime.errors import BillowError

log = structlog.get_logger()

_CLIENTS = 4
_PAUSE = 0.5


def page(number: int) -> bytes:
    """A picture, each with other bytes, on which the fake detector finds two lines."""
    pixels = np.full((640, 480, 3), 200, np.uint8)
    pixels[0, :32, 0] = [(number >> bit & 1) * 255 for bit in range(32)]
    # Without something at its edges all of the page would be margin, and the lines with it.
    pixels[(0, 0, -1, -1), (0, -1, 0, -1)] = 0
    return cv2.imencode(".png", pixels)[1].tobytes()


class Load:
    """Hands in `count` documents within about `seconds`."""

    def __init__(self, url: str, *, count: int, seconds: float, tenant: str = "chaos") -> None:
        self._url = url
        self._seconds = seconds
        self.tenant = tenant
        self.ids = [f"doc-{number:05d}" for number in range(count)]
        self.accepted: dict[str, float] = {}
        """Document -> seconds since the epoch at which its client was told that it is safe."""
        self.refusals = 0
        """Attempts that were refused, or not answered; each was made again with the same id."""

    async def run(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Returns when every document was accepted."""
        async with asyncio.TaskGroup() as group:
            for client in range(_CLIENTS):
                group.create_task(self._client(client, progress))

    async def _client(self, index: int, progress: Callable[[int], None]) -> None:
        started = time.monotonic()
        async with Billow(self._url, tenant=self.tenant) as billow:
            for number in range(index, len(self.ids), _CLIENTS):
                due = started + self._seconds * number / len(self.ids)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                await self._hand_in(billow, number)
                progress(len(self.accepted))

    async def _hand_in(self, billow: Billow, number: int) -> None:
        name = self.ids[number]
        while True:
            try:
                await billow.submit(page(number), source=f"{name}.png", document_id=name)
            except (BillowError, TimeoutError, OSError) as e:
                self.refusals += 1
                log.debug("not accepted yet", document=name, reason=str(e))
                await asyncio.sleep(getattr(e, "delay", None) or _PAUSE)
            else:
                self.accepted[name] = time.time()
                return
