# pyright: reportUnknownMemberType=false
"""Replicas of one consumer share what is left: who holds a surplus gives of it to those with nothing to do."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import structlog

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.pull import PullSession
from billow.bus.topology import ConsumerSpec
from billow.runtime.errors import BillowError

log = structlog.get_logger()

_EVERY = 0.5
"""seconds between two questions whether another is in need; asked only by who has a surplus"""
_REST_SECONDS = 1.0
"""Given to the others to take what was given back, before we look ahead again."""


class Sharing:
    """Asks the server now and then, while there is something to give."""

    def __init__(
        self,
        bus: Bus,
        spec: ConsumerSpec,
        session: PullSession,
        *,
        surplus: Callable[[], tuple[int, int]],
        give_back: Callable[[int], Awaitable[None]],
    ) -> None:
        """`surplus` tells the messages in hand, and those that wait here besides; `give_back` returns some of these."""
        self._bus = bus
        self._spec = spec
        self._session = session
        self._surplus = surplus
        self._give_back = give_back
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask, in the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ask no more; what is being given back is given back first."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(_EVERY):
                    await self._stopping.wait()
            except TimeoutError:
                try:
                    await self._share()
                except Exception:
                    log.exception("nothing given back")

    async def _share(self) -> None:
        if not self._surplus()[1]:
            return
        try:
            with translated(f"asking for {self._spec.durable}"):
                info = await self._bus.js.consumer_info(self._spec.stream, self._spec.durable, timeout=2)
        except BillowError as e:
            log.debug("cannot see who is in need", reason=str(e))
            return
        in_need = (info.num_waiting or 0) - self._session.in_need
        in_hand, waiting = self._surplus()
        if in_need <= 0 or info.num_pending or not waiting:
            return
        share = min(waiting, math.ceil((in_hand + waiting) * in_need / (in_need + 1)))
        log.info("giving back to other replicas", messages=share, replicas=in_need)
        self._session.rest(_REST_SECONDS)
        await self._give_back(share)
