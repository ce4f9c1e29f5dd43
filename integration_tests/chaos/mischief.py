"""Something is killed, cut or paused every few seconds, at random with a seed."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

import structlog

log = structlog.get_logger()

LONGEST_CUT = 30.0
LONGEST_PAUSE = 10.0
_DOWN = (1.0, 6.0)
"""seconds for which a killed server stays away"""


class System(Protocol):
    """What can be disturbed. Services and workers are started again by whoever supervises them."""

    @property
    def services(self) -> Sequence[str]: ...

    @property
    def workers(self) -> Sequence[str]: ...

    @property
    def nodes(self) -> Sequence[str]: ...

    @property
    def sites(self) -> Sequence[str]: ...

    async def kill(self, name: str) -> None: ...

    async def start(self, name: str) -> None: ...

    async def pause(self, name: str) -> None: ...

    async def unpause(self, name: str) -> None: ...

    async def cut(self, site: str) -> None: ...

    async def join(self, site: str) -> None: ...

    async def restart_postgres(self) -> None: ...

    async def stream_leader(self, stream: str) -> str: ...

    async def until_whole(self) -> None: ...


class Deed(NamedTuple):
    """What was done, for the report."""

    at: float
    """seconds since the beginning"""
    what: str
    target: str
    lasted: float
    """seconds until it was mended; 0 where somebody else sees to that"""

    def __str__(self) -> str:
        end = f" for {self.lasted:.1f} s" if self.lasted else ""
        return f"{self.at:6.1f} s  {self.what} {self.target}{end}"


class Mischief:
    """Disturbs a system until told to stop; the same seed chooses the same deeds in the same order.

    One NATS node at a time is away, and it is whole again before the next one goes: of three, two hold every stream.
    """

    def __init__(self, system: System, *, seed: int, every: float = 5.0) -> None:
        self._system = system
        self._random = random.Random(seed)
        self._every = every
        self._started = time.monotonic()
        self._lasting: set[asyncio.Task[None]] = set()
        self._away: set[str] = set()
        self.deeds: list[Deed] = []

    async def run(self, until: Callable[[], bool]) -> None:
        """Do one deed every so many seconds; afterwards mend what is still broken."""
        self._started = time.monotonic()
        try:
            while not until():
                await asyncio.sleep(self._every)
                if not until():
                    await self._one()
        finally:
            await asyncio.gather(*self._lasting)

    async def _one(self) -> None:
        # Chosen from all of them, also from those that cannot be done now, so that a seed means the same each time.
        deeds: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("kill service", self._kill_service),
            ("kill worker", self._kill_worker),
            ("kill node", self._kill_node),
            ("kill leader", self._kill_leader),
            ("restart postgres", self._restart_postgres),
            ("cut leaf", self._cut_leaf),
            ("pause", self._pause),
        ]
        name, deed = self._random.choice(deeds)
        log.debug("chaos", deed=name)
        await deed()

    async def _kill_service(self) -> None:
        await self._strike("killed service", self._random.choice(self._system.services))

    async def _kill_worker(self) -> None:
        await self._strike("killed worker", self._random.choice(self._system.workers))

    async def _strike(self, what: str, name: str) -> None:
        self._note(what, name)
        await self._system.kill(name)

    async def _kill_node(self) -> None:
        await self._take_node(self._random.choice(self._system.nodes), "killed NATS node")

    async def _kill_leader(self) -> None:
        stream = self._random.choice(("DOCUMENTS", "INFERENCE", "RESULTS"))
        seconds = self._random.uniform(*_DOWN)
        if self._away & set(self._system.nodes):
            return
        leader = await self._system.stream_leader(stream)
        await self._take_node(leader, f"killed the leader of {stream},", seconds)

    async def _take_node(self, node: str, what: str, seconds: float | None = None) -> None:
        seconds = self._random.uniform(*_DOWN) if seconds is None else seconds
        if self._away & set(self._system.nodes):
            return
        self._last(what, node, seconds, self._system.kill, self._system.start)

    async def _restart_postgres(self) -> None:
        if "postgres" not in self._away:
            self._last("restarted", "postgres", 0.0, _nothing, lambda _: self._system.restart_postgres())

    async def _cut_leaf(self) -> None:
        site, seconds = self._random.choice(self._system.sites), self._random.uniform(3, LONGEST_CUT)
        # Of two sites one stays: with none the system waits, which is tested apart.
        if not self._away & set(self._system.sites):
            self._last("cut off", site, seconds, self._system.cut, self._system.join)

    async def _pause(self) -> None:
        name = self._random.choice((*self._system.nodes, *self._system.services, *self._system.workers))
        seconds = self._random.uniform(2, LONGEST_PAUSE)
        if name in self._away or (name in self._system.nodes and self._away & set(self._system.nodes)):
            return
        self._last("paused", name, seconds, self._system.pause, self._system.unpause)

    def _last(
        self,
        what: str,
        name: str,
        seconds: float,
        begin: Callable[[str], Awaitable[None]],
        end: Callable[[str], Awaitable[None]],
    ) -> None:
        async def lasting() -> None:
            try:
                await begin(name)
                await asyncio.sleep(seconds)
                await end(name)
                if name in self._system.nodes:
                    await self._system.until_whole()
            finally:
                self._away.discard(name)

        self._away.add(name)
        self._note(what, name, seconds)
        task = asyncio.create_task(lasting())
        self._lasting.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        # One that failed stays, for `run` to raise it.
        if not task.cancelled() and task.exception() is None:
            self._lasting.discard(task)

    def _note(self, what: str, name: str, seconds: float = 0.0) -> None:
        deed = Deed(time.monotonic() - self._started, what, name, seconds)
        self.deeds.append(deed)
        log.info("chaos", deed=str(deed))


async def _nothing(_: str) -> None:
    """There is nothing to begin."""
