"""The caller's side of an inference: ask the model that the route names, wait, and never ask twice for the same."""

import time
from typing import Self

import msgspec
import structlog

from billow.bus.asking import Answer, Desk, Question
from billow.bus.connection import Bus
from billow.bus.faults import BusyError
from billow.bus.patience import Awaited, Patience
from billow.bus.routes import RouteTable, is_served
from billow.bus.shadows import Shadows
from billow.runtime.errors import BillowError, PermanentError, TransientError
from billow.schemas.events import Analyzed, Event, Recognized, Submitted
from billow.schemas.inference import InferenceResult, Payload
from billow.schemas.labels import Lane, Task
from billow.schemas.routing import Choice, choose

log = structlog.get_logger()

_SERVED_SECONDS = 1.0
"""How long a look at who serves a model holds."""


class InferenceClient:
    """Asks models for one service. Keep one a process: it remembers which work still waits in the queue."""

    def __init__(
        self, bus: Bus, *, wait: float = 20.0, retry_delay: float = 10.0, routes: RouteTable | None = None
    ) -> None:
        """A call that is not answered within `wait` seconds gives up its slot for `retry_delay` seconds or more.

        The next calls to that model give up at once, until it answers one. `routes` if somebody else follows them
        already, and ends that; else the first call begins to.
        """
        self._bus = bus
        self._wait = wait
        self._patience = Patience(wait, retry_delay)
        self._desk = Desk(bus)
        self._shadows = Shadows(self._desk)
        self._routes = routes or RouteTable(bus)
        self._own_routes = routes is None
        self._served: dict[str, tuple[float, bool]] = {}

    async def start(self) -> None:
        """Read the routes and follow them. Not needed: the first call does it."""
        await self._routes.start()

    async def close(self) -> None:
        """Finish what shadows do, within seconds, and stop following the routes. Safe to call twice."""
        await self._shadows.close()
        await self._desk.close()
        if self._own_routes:
            await self._routes.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def still_waiting(self, event: Event) -> None:
        """The first step with an event that was delivered before, so that waiting for an absent model costs no work.

        Raises:
            TransientError: the model that this document waited for last is still silent, and the route the same.
        """
        awaited = self._patience.awaited(event)
        if awaited is None or awaited.route != self._routes.version(awaited.task):
            return
        for queue, subject in awaited.subjects.items():
            if await self._desk.look(subject) is not None:
                self._patience.answered(queue, event)
                return
        if all(self._patience.is_silent(queue) for queue in awaited.subjects):
            raise self._no_answer(event, awaited, waited=0)

    async def forget(self, event: Event) -> None:
        """Nobody wants the document any more: take back what it asked models for and none has begun.

        As far as this process remembers; never raises for want of an answer.
        """
        await self._desk.forget((event.tenant, event.document_id, event.revision, event.run_id))

    async def call(
        self,
        event: Event,
        payload: Payload,
        *,
        task: Task,
        model: str,
        lane: Lane,
        again: bool,
        sent: dict[str, int] | None = None,
    ) -> InferenceResult:
        """Have `payload` worked on, on behalf of the document of `event`; the result says by which model.

        What a replay asks for wins; else the route of the task decides which, and without one it is `model`. A route's
        fallback is asked too when the chosen model does not answer in time, and whoever answers first is taken. A
        change of the route also moves calls that wait for a model that nobody serves. Work for the shadows goes out
        after the answer.

        Idempotent: the request id is made from document, run, model and payload, so a repeated call (`again`: the
        event was delivered before) finds the answer of the first, or goes on waiting for it.

        `sent` counts the bytes of the payload under the task, once for each model that was asked.

        Raises:
            TransientError: no worker answered in time, or the queue is full.
            PermanentError: the model cannot work on this; the worker's code and message.
        """
        await self._routes.start()
        call = _Call(event, task, model, lane)
        question = Question(self._desk, event, payload, task=task, lane=lane)
        choice = self._choose(call)
        answer = await question.look(filter(None, (choice.model, choice.fallback))) if again else None
        found = answer is not None
        try:
            if answer is None:
                answer = await self._ask(question, call)
        finally:
            await question.close()
            if sent is not None:
                sent[task] = sent.get(task, 0) + question.size * max(1, len(question.asked))
        result = answer.result
        self._patience.answered(call.queue(answer.model), event)
        question.settle(answer.model)
        if result.error is not None:
            raise PermanentError(result.error.message, code=result.error.code, retryable=result.error.retryable)
        if not found:
            self._shadows.follow(event, payload, task, result, self._choose(call).shadows)
        return result

    async def _ask(self, question: Question, call: "_Call") -> Answer:
        """Put the question to the chosen model, to another one when the route changes, and to the fallback in time."""
        # Before the route is looked at, so that no change of it passes unseen.
        changed = self._routes.change()
        asking = _Asking(await self._reachable(self._choose(call), call))
        await self._put(question, asking, call)
        while True:
            answer = await question.wait(asking.pause(), changed)
            if answer is not None:
                return answer
            if changed.done():
                changed = self._routes.change()
                new = await self._reachable(self._choose(call), call)
                # What a model that is there was given is best left to it.
                moves = new.model != asking.chosen and not await self._is_served(asking.chosen)
                if moves and await question.take_back():
                    asking = _Asking(new)
                    await self._put(question, asking, call)
            elif asking.fallback_is_due():
                self._patience.late(call.queue(asking.choice.model))
                log.info(
                    "asking the fallback", task=call.task, model=asking.choice.model, instead=asking.choice.fallback
                )
                asking = asking.with_fallback()
                await self._put(question, asking, call)
            elif asking.is_over():
                raise self._no_answer(call.event, self._awaited(question, call), waited=asking.waited())

    async def _put(self, question: Question, asking: "_Asking", call: "_Call") -> None:
        queue = call.queue(asking.choice.model)
        asking.until = time.monotonic() + self._patience.limit(queue)
        try:
            await question.ask(asking.choice.model)
        except BusyError as e:
            if asking.choice.fallback is None:
                e.delay = self._patience.gave_up(call.event, self._awaited(question, call), waited=self._wait)
                raise
            # There is no place for it: the same as being late, only sooner.
            asking.choice = _fallback_of(asking.choice)
            await self._put(question, asking, call)

    def _choose(self, call: "_Call") -> Choice:
        event = call.event
        if isinstance(event, Submitted | Recognized) and (asked := event.asked.get(call.task)):
            return Choice(model=asked)
        route = self._routes.current(call.task)
        if route is None:
            return Choice(model=call.model)
        known = isinstance(event, Submitted | Recognized | Analyzed)
        choice = choose(
            route,
            tenant=event.tenant,
            document_id=event.document_id,
            kind=event.kind if known else None,
            language=event.language if known else None,
        )
        # Nobody keeps a slot for longer, whatever the route says.
        return msgspec.structs.replace(choice, fallback_after=min(choice.fallback_after, self._wait))

    async def _reachable(self, choice: Choice, call: "_Call") -> Choice:
        """The choice, or its fallback alone where the model was silent lately and nobody announces it."""
        if choice.fallback is None or not self._patience.is_silent(call.queue(choice.model)):
            return choice
        return choice if await self._is_served(choice.model) else _fallback_of(choice)

    async def _is_served(self, model: str) -> bool:
        seen_at, served = self._served.get(model, (0.0, True))
        if time.monotonic() - seen_at > _SERVED_SECONDS:
            try:
                served = await is_served(self._bus, model)
            except BillowError as e:
                log.debug("not known who serves a model", model=model, reason=str(e))
                served = True
            self._served[model] = (time.monotonic(), served)
        return served

    def _awaited(self, question: Question, call: "_Call") -> Awaited:
        subjects = {call.queue(model): question.subject(model) for model in question.asked}
        return Awaited(call.task, self._routes.version(call.task), subjects)

    def _no_answer(self, event: Event, awaited: Awaited, *, waited: float) -> TransientError:
        models = [queue.partition(".")[0] for queue in awaited.subjects]
        return TransientError(
            f"No worker answered for model {' or '.join(models)} within {self._wait:g} s; the document waits. "
            f"Start one with `billow worker {models[0]}`.",
            delay=self._patience.gave_up(event, awaited, waited=waited),
        )


class _Call(msgspec.Struct, frozen=True):
    """What a service wants."""

    event: Event
    task: Task
    model: str
    lane: Lane

    def queue(self, model: str) -> str:
        """A model and a lane."""
        return f"{model}.{self.lane}"


class _Asking:
    """How long to wait for the model that was asked last."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.chosen = choice.model
        """By the route, also when the fallback is asked."""
        self.until = 0.0
        self._since = time.monotonic()

    def waited(self) -> float:
        """seconds"""
        return time.monotonic() - self._since

    def pause(self) -> float:
        """seconds until something is due"""
        return max(0.0, self._due() - time.monotonic())

    def fallback_is_due(self) -> bool:
        return self.choice.fallback is not None and time.monotonic() >= self._due()

    def is_over(self) -> bool:
        return self.choice.fallback is None and time.monotonic() >= self.until

    def with_fallback(self) -> "_Asking":
        """As this, when the fallback is asked; the time that was waited counts on."""
        asking = _Asking(_fallback_of(self.choice))
        asking._since, asking.chosen = self._since, self.chosen
        return asking

    def _due(self) -> float:
        return self.until if self.choice.fallback is None else self._since + self.choice.fallback_after


def _fallback_of(choice: Choice) -> Choice:
    return msgspec.structs.replace(choice, model=choice.fallback or choice.model, fallback=None)
