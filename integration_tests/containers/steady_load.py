"""Documents handed in at a steady pace for as long as it takes, and when each was accepted and completed."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Any

import nats.errors
import nats.js.errors

from billow.bus.connection import Bus
from billow.client import Billow
from billow.runtime.errors import BillowError
from billow.schemas import codec
from billow.schemas.events import Completed
from integration_tests.chaos.load import page

_PAUSE = 0.5
_SETTLE_SECONDS = 240.0
"""After the last document, until all must be done"""


class SteadyLoad:
    """`async with SteadyLoad(billow, bus, rate=5).running() as load`; the end of the block is the end of the load."""

    def __init__(self, billow: Billow, bus: Bus, *, rate: float, tenant: str = "default") -> None:
        """`billow` hands in, `bus` hears what was completed; `rate`: documents/s."""
        self._billow = billow
        self._bus = bus
        self._rate = rate
        self._subject = f"documents.{tenant}.completed.*"
        self._handed_in: dict[str, float] = {}
        self._news = asyncio.Event()
        self.accepted: list[str] = []
        """Documents of which the client was told that they are safe."""
        self.completed: dict[str, float] = {}
        """Document -> seconds from handing it in until its first completed event was heard."""
        self.tasks: set[frozenset[str]] = set()
        """What models were asked for: one entry that names all is that no document left one out."""
        self.rate = 0.0
        """documents/s that were handed in, once the load has ended"""
        self.refusals = 0
        """Attempts that were refused or not answered; each was made again with the same id."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator["SteadyLoad"]:
        """Hand in until the end of the block, then wait until all that was accepted is completed.

        What is not completed in time is left to whoever counts.
        """
        subscription = await self._bus.client.subscribe(  # pyright: ignore[reportUnknownMemberType]
            self._subject, cb=self._heard
        )
        stopping = asyncio.Event()
        loading = asyncio.create_task(self._load(stopping))
        try:
            yield self
        finally:
            stopping.set()
            await loading
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_SECONDS):
                await self._all_stored()
        await subscription.unsubscribe()

    async def until(self, count: int, timeout: float = _SETTLE_SECONDS) -> None:
        """Wait until that many documents are completed. Raises TimeoutError: they are not in time."""
        async with asyncio.timeout(timeout):
            while len(self.completed) < count:
                self._news.clear()
                await self._news.wait()

    async def more(self, count: int) -> None:
        """Wait until that many more are completed than now."""
        await self.until(len(self.completed) + count)

    def describe(self) -> str:
        """How long documents took, for people."""
        times = sorted(self.completed.values())
        p50, p95 = (times[min(int(len(times) * part), len(times) - 1)] for part in (0.5, 0.95))
        return (
            f"{len(self.accepted)} documents accepted at {self.rate:.2f}/s ({self.refusals} attempts refused), "
            f"{len(times)} completed: p50 {p50:.2f} s, p95 {p95:.2f} s, longest {times[-1]:.2f} s"
        )

    async def _all_stored(self) -> None:
        """An event is heard a moment before its stream has it."""
        stored: dict[str, int] = {}
        while len(stored) < len(self.accepted):
            with contextlib.suppress(nats.errors.Error, nats.js.errors.Error):
                info = await self._bus.js.stream_info("DOCUMENTS", subjects_filter=self._subject)
                stored = info.state.subjects or {}
            await asyncio.sleep(_PAUSE)

    async def _load(self, stopping: asyncio.Event) -> None:
        started = time.monotonic()
        number = 0
        async with asyncio.TaskGroup() as group:
            while not stopping.is_set():
                group.create_task(self._hand_in(number))
                number += 1
                # A slow submission holds up none of those behind it.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(_loop_time(started + number / self._rate)):
                        await stopping.wait()
            self.rate = number / (time.monotonic() - started)

    async def _hand_in(self, number: int) -> None:
        name = f"doc-{number:05d}"
        self._handed_in[name] = time.monotonic()
        while True:
            try:
                await self._billow.submit(page(number), source=f"{name}.png", document_id=name)
            except (BillowError, TimeoutError, OSError) as e:
                self.refusals += 1
                await asyncio.sleep(getattr(e, "delay", None) or _PAUSE)
            else:
                self.accepted.append(name)
                return

    async def _heard(self, message: Any) -> None:
        name = str(message.subject).rpartition(".")[2]
        self.tasks.add(frozenset(codec.decode(message.data, Completed).record.models))
        self.completed.setdefault(name, time.monotonic() - self._handed_in[name])
        self._news.set()


def _loop_time(moment: float) -> float:
    """Of `time.monotonic`, as the event loop counts."""
    return asyncio.get_running_loop().time() + moment - time.monotonic()
