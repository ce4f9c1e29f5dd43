"""Sends history again under a run, not faster than it is worked on, until all has its outcome."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import structlog

from billow.bus.connection import Bus
from billow.bus.history import BATCH, History, Stored
from billow.bus.replay.book import ReplayBook, Run
from billow.bus.replay.pace import Pace
from billow.bus.replay.progress import OutcomeCount, Outcomes, inputs, is_idle
from billow.bus.replay.selection import UNREADABLE, Selection, key_of, select
from billow.bus.replay.sending import Outgoing, Sent, send, under_run
from billow.runtime.errors import BillowError, TransientError, UsageError
from billow.runtime.tasks import end_tasks
from billow.schemas.codec import CodecError
from billow.schemas.replay import Order, ReplaySpec, ReplayState, Status

log = structlog.get_logger()

PORTION = 64
"""Events sent at a time, of which all must be stored before the next."""
_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.1, 0.5
_AHEAD_SECONDS, _FEWEST_AHEAD = 0.5, 16
"""What a throttled replay reads in one go: so much of its time, but so many documents at least."""
_WRITE_SECONDS = 1.0
_ORDER_SECONDS = 0.5
_IDLE_LOOKS = 5
_IDLE_SECONDS = 1.0
"""How often, and how far apart, nothing must be under way before documents count as unanswered."""

Progress = Callable[[ReplayState], None]


def new_driver() -> str:
    """A name for whoever drives a run now."""
    return secrets.token_hex(8)


class ReplayDriver:
    """Drives one run. Any number of them, one after the other, come to the same end.

    Nothing is remembered but what the streams and the bucket hold, so one that is killed loses nothing: the next one
    chooses the same events, sees which of them lie in `RUNS`, and sends the others.
    """

    def __init__(self, bus: Bus, run: Run, *, driver: str, progress: Progress | None = None) -> None:
        """`progress` is told the state about once a second."""
        self._bus = bus
        self._book = ReplayBook(bus)
        self._run = run
        self._spec = run.spec
        self._driver = driver
        self._progress = progress
        self._outcomes = Outcomes(bus, run.spec.run_id)
        self._counts = tuple(OutcomeCount(bus, run.spec.run_id, name) for name in ("completed", "failed"))
        self._completed = self._failed = 0
        self._given_up = 0
        """How many had no outcome when nothing was under way: they were erased or cancelled, and get none."""
        self._stated = self._doubled = 0
        """Outcomes as they were counted last, and those of them beyond the first of their documents."""
        self._sent: set[str] = set()
        self._todo: dict[str, int] = {}
        self._state = run.state
        self._order: Order = "run"
        self._changed = asyncio.Event()
        self._ordered = asyncio.Event()
        """Set once it is told to pause or cancel."""
        self._began: float | None = None
        self._active_before = run.state.active_s
        self._last_outcome = 0.0

    async def drive(self) -> ReplayState:
        """Send and wait until all is done, or until it is told to pause or cancel; returns the state that is kept then.

        Raises:
            TakenOverError: another driver drives it now.
            UsageError: it was cancelled.
            TransientError: NATS did not answer at the beginning; later it is waited for.
        """
        await self._take()
        watchers = [asyncio.create_task(work()) for work in (self._watch_outcomes, self._watch_orders, self._write)]
        sending = asyncio.create_task(self._send_all())
        try:
            # Who watches ends by a failure alone, as when another driver takes over.
            done, _ = await asyncio.wait({sending, *watchers}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        except asyncio.CancelledError:
            # Told to stop, not killed: whoever looks finds it paused.
            await end_tasks([sending, *watchers])
            with contextlib.suppress(BillowError):
                await self._keep(self._now("paused"))
            raise
        finally:
            await end_tasks([sending, *watchers])
            for count in self._counts:
                await count.close()
        await self._settle()
        if self._order == "run":
            self._state = msgspec.structs.replace(self._state, unanswered=max(0, self._without_outcome))
        await self._keep(self._now("finished" if self._order == "run" else _ENDS[self._order]))
        return self._state

    async def _take(self) -> None:
        """Find out how far it is, and say that we drive it."""
        before = msgspec.structs.replace(self._run.state, updated_at=_utc_now())
        if not await self._book.take_up(self._spec.run_id):
            # Its driver died before it could say so.
            await self._keep(msgspec.structs.replace(before, status="cancelled", driver=""))
            raise UsageError(f"Run {self._spec.run_id} was cancelled; begin another one.")
        await self._keep(msgspec.structs.replace(before, status="running", driver=self._driver))
        selection: Selection = await select(self._bus, self._spec)
        self._sent = await inputs(self._bus, self._spec)
        await self._settle()
        self._todo = {key: sequence for key, sequence in selection.chosen.items() if key not in self._sent}
        planned = len(self._sent | selection.chosen.keys())
        await self._keep(msgspec.structs.replace(self._now(), planned=planned, left_out=selection.left_out))

    async def _settle(self) -> None:
        """Count the outcomes by their documents, each once."""
        await self._outcomes.look()
        self._doubled = max(0, self._stated - len(self._outcomes))
        self._completed, self._failed = len(self._outcomes.completed), len(self._outcomes.failed)

    @property
    def _under_way(self) -> int:
        """Documents that may still get their outcome, or fewer where one was stated twice."""
        return self._without_outcome - self._given_up

    @property
    def _without_outcome(self) -> int:
        return len(self._sent) - self._completed - self._failed

    async def _send_all(self) -> None:
        pace = Pace(self._spec.rate)
        self._began = time.monotonic()
        waiting: list[Stored] = []
        first = min(self._todo.values(), default=None)
        if first is not None:
            subject = f"documents.{self._spec.tenant or '*'}.{self._spec.start}.*"
            limit = _batch_of(self._spec.rate)
            async for batch in History(self._bus).batches(subject, first=first, until=self._spec.until, limit=limit):
                waiting += [stored for stored in batch if self._todo.get(key_of(stored.subject)) == stored.sequence]
                while len(waiting) >= PORTION and self._order == "run":
                    portion = pace.portion(PORTION)
                    await self._send(waiting[:portion], pace)
                    del waiting[:portion]
                if self._order != "run":
                    return
        while waiting and self._order == "run":
            portion = pace.portion(PORTION)
            await self._send(waiting[:portion], pace)
            del waiting[:portion]
        await self._await_outcomes()

    async def _send(self, portion: list[Stored], pace: Pace) -> None:
        events: list[Outgoing] = []
        keys = {key_of(stored.subject) for stored in portion}
        for stored in portion:
            try:
                events.append(under_run(stored, self._spec))
            except CodecError as e:
                log.warning("not sent again", subject=stored.subject, reason=str(e))
                keys.discard(key_of(stored.subject))
                left_out = {**self._state.left_out, UNREADABLE: self._state.left_out.get(UNREADABLE, 0) + 1}
                self._state = msgspec.structs.replace(self._state, left_out=left_out)
        await self._await_room(len(events))
        await pace.take(len(events))
        if self._order != "run":
            return
        while (sent := await self._try(events)) is None:
            if self._order != "run":
                return
        self._sent |= keys - {key_of(subject) for subject in sent.refused}
        refused, cursor = self._state.refused + len(sent.refused), portion[-1].sequence
        self._state = msgspec.structs.replace(self._state, refused=refused, cursor=cursor)

    async def _try(self, events: list[Outgoing]) -> Sent | None:
        """None where not all are stored yet; the rest is sent again."""
        try:
            return await send(self._bus, events)
        except TransientError as e:
            log.warning("waiting to send on", reason=str(e))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(e.delay):
                    await self._ordered.wait()
            return None

    async def _await_room(self, count: int) -> None:
        most = max(self._spec.in_flight, count)
        idle = 0
        while self._order == "run" and self._under_way + count > most:
            idle = await self._wait(idle)
            if idle >= _IDLE_LOOKS:
                # By the count, which an erasure makes smaller too.
                self._given_up = self._without_outcome

    async def _wait(self, idle: int) -> int:
        """Until something changed, or for a while; returns how often in a row nothing was under way."""
        self._changed.clear()
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            return idle + 1 if await self._is_idle() else 0
        return 0

    async def _await_outcomes(self) -> None:
        """Until every document has one, or nobody works on any: one that was cancelled meanwhile never gets one."""
        idle = 0
        while self._order == "run" and not await self._all_answered():
            idle = await self._wait(idle)
            if idle >= _IDLE_LOOKS:
                return

    async def _all_answered(self) -> bool:
        if self._under_way <= 0:
            try:
                await self._settle()
            except TransientError as e:
                log.warning("cannot see outcomes", reason=str(e))
                return False
        return self._under_way <= 0

    async def _is_idle(self) -> bool:
        try:
            return await is_idle(self._bus)
        except TransientError:
            return False

    async def _watch_outcomes(self) -> None:
        while True:
            try:
                completed, failed = [await count.now() for count in self._counts]
                self._stated = completed + failed
                completed -= self._doubled
                if (completed, failed) != (self._completed, self._failed):
                    self._completed, self._failed = completed, failed
                    self._last_outcome = time.monotonic()
                    self._changed.set()
            except TransientError as e:
                log.warning("cannot see outcomes", reason=str(e))
            await asyncio.sleep(_look_seconds(self._spec))

    async def _watch_orders(self) -> None:
        while self._order == "run":
            try:
                self._order = await self._book.order(self._spec.run_id)
            except TransientError as e:
                log.debug("cannot see orders", reason=str(e))
            await asyncio.sleep(_ORDER_SECONDS if self._order == "run" else 0)
        self._ordered.set()
        self._changed.set()
        # Whoever sends ends by itself.
        await asyncio.Event().wait()

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            try:
                await self._keep(self._now())
            except TransientError as e:
                log.warning("cannot keep how far it is", reason=str(e))

    def _now(self, status: Status = "running") -> ReplayState:
        active = self._active_before
        if self._began is not None and self._last_outcome > self._began:
            active += self._last_outcome - self._began
        return msgspec.structs.replace(
            self._state,
            status=status,
            updated_at=_utc_now(),
            driver=self._driver if status == "running" else "",
            sent=len(self._sent),
            completed=self._completed,
            failed=self._failed,
            active_s=active,
        )

    async def _keep(self, state: ReplayState) -> None:
        self._run = await self._book.write(self._run, state, driver=self._driver)
        self._state = state
        if self._progress is not None:
            self._progress(state)


def _batch_of(rate: float) -> int:
    return BATCH if not rate else min(BATCH, max(_FEWEST_AHEAD, int(rate * _AHEAD_SECONDS)))


def _look_seconds(spec: ReplaySpec) -> float:
    """Between two counts of the outcomes: a throttled replay hardly ever waits for room, so it looks less often."""
    if not spec.rate:
        return _LOOK_SECONDS
    return min(_LONGEST_LOOK_SECONDS, max(_LOOK_SECONDS, spec.in_flight / spec.rate / 4))


_ENDS: dict[Order, Status] = {"pause": "paused", "cancel": "cancelled"}


def _utc_now() -> datetime:
    return datetime.now(UTC)
