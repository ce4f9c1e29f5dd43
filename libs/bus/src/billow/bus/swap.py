"""One model takes over from another under load: the route changes once the new one is warm, then the old one drains."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from billow.bus.connection import Bus
from billow.bus.presence import present_workers, queue_depth
from billow.bus.routes import RouteBook
from billow.bus.swap_watch import SwapObserver, SwapReport
from billow.runtime.errors import TransientError, UsageError
from billow.schemas.labels import Task
from billow.schemas.routing import Route

_LOOK_SECONDS = 0.05
_QUIET_SECONDS = 1.0
"""The old model has to be idle for so long to count as drained: a service may hear of the route a moment later."""

Progress = Callable[[str], None]


class Swap:
    """Hands a task over from one model to another and proves what became of the work."""

    def __init__(self, bus: Bus, task: Task, old: str, new: str, *, watch: float = 5.0, timeout: float = 60.0) -> None:
        """`old` and `new` are model tokens.

        Args:
            bus: Of somebody who may change routes and hear the work, on the hub.
            task: What both models do.
            old: Whom the route names now.
            new: Who takes over.
            watch: seconds to watch before and after, for comparison.
            timeout: seconds to wait for the new model to be there, and for the old one to finish.

        Raises:
            UsageError: both are the same.
        """
        if old == new:
            raise UsageError(f"{old} cannot take over from itself; name two models")
        self._bus = bus
        self._task: Task = task
        self._old = old
        self._new = new
        self._watch = watch
        self._timeout = timeout

    async def run(self, progress: Progress = lambda _: None, *, by: str = "", note: str = "") -> SwapReport:
        """Do it. `progress` is told each step.

        Raises:
            UsageError: the route does not name the old model.
            TransientError: nobody serves the new model, and nothing was changed; or the old one did not finish in
                time, and the route names the new one already.
            PermanentError: somebody else changed the route meanwhile.
        """
        book = RouteBook(self._bus)
        await book.open()
        present = await book.get(self._task)
        route = swapped(present.route if present else None, self._task, self._old, self._new, by=by, note=note)
        progress(f"waiting until {self._new} is warm")
        await self._await_warm()
        observer = SwapObserver(self._bus, self._task, self._old, self._new)
        await observer.start()
        try:
            progress(f"watching {self._old}")
            await asyncio.sleep(self._watch)
            observer.enter("during")
            started = time.monotonic()
            version = await book.put(route, expected=present.version if present else 0)
            progress(f"sending to {self._new}, draining {self._old}")
            drain_s = await self._await_drained(observer, started)
            observer.enter("after")
            progress(f"watching {self._new}")
            await asyncio.sleep(self._watch)
            observer.seal()
            await self._await_answers(observer)
            return observer.report(version=version, drain_s=drain_s)
        finally:
            await observer.stop()

    async def _await_warm(self) -> None:
        # A worker announces itself once it is warm, and pulls from then on.
        until = time.monotonic() + self._timeout
        while not any(worker.model == self._new for worker in await present_workers(self._bus)):
            if time.monotonic() > until:
                raise TransientError(
                    f"Nobody serves {self._new}, so nothing was changed. Start `billow worker {self._new}` and try "
                    "again."
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _await_drained(self, observer: SwapObserver, started: float) -> float:
        """Seconds from `started` until the old model had nothing left."""
        quiet_since: float | None = None
        while True:
            now = time.monotonic()
            if observer.outstanding_of(self._old) or await queue_depth(self._bus, self._task, self._old):
                quiet_since = None
            else:
                quiet_since = quiet_since or now
            if quiet_since is not None and now - quiet_since >= _QUIET_SECONDS:
                return quiet_since - started
            if quiet_since is None and now - started > self._timeout:
                raise TransientError(
                    f"{self._old} still has work after {self._timeout:g} s, so leave its workers running. New work "
                    f"goes to {self._new} already; `billow models list --watch` shows when the old one is done."
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _await_answers(self, observer: SwapObserver) -> None:
        until = time.monotonic() + self._timeout
        while observer.outstanding and time.monotonic() < until:
            await asyncio.sleep(_LOOK_SECONDS)


def swapped(route: Route | None, task: Task, old: str, new: str, *, by: str = "", note: str = "") -> Route:
    """The route with `new` wherever `old` did the work; shadows and the fallback stay, but for `new` itself.

    Raises:
        UsageError: the route sends nothing to `old`.
    """
    note, now = note or f"swap {old} for {new}", datetime.now(UTC)
    if route is None:
        return Route(task=task, default=new, changed_at=now, changed_by=by, note=note)
    used = {route.default, *route.weights, *(rule.model for rule in route.rules)}
    if old not in used:
        raise UsageError(
            f"the route of {task} sends nothing to {old}; it names {', '.join(sorted(used))}. See `billow models route`"
        )

    def then(model: str) -> str:
        return new if model == old else model

    default = then(route.default)
    shares: dict[str, float] = {}
    for model, share in route.weights.items():
        if then(model) != default:
            shares[then(model)] = shares.get(then(model), 0.0) + share
    return msgspec.structs.replace(
        route,
        default=default,
        weights=shares,
        rules=tuple(msgspec.structs.replace(rule, model=then(rule.model)) for rule in route.rules),
        shadows=tuple(shadow for shadow in route.shadows if shadow != new),
        fallback=None if route.fallback == new else route.fallback,
        changed_at=now,
        changed_by=by,
        note=note,
    )
