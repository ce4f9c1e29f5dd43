"""Consumes: `recognized`. Publishes: `analyzed`. What belongs to a replay stays under its run.

Idempotent by: the event id; on redelivery an outcome that was stated before is not worked out again.
Not worked on: a document that is cancelled, or whose deadline passed.
On failure: what cannot be analysed becomes a dead letter, which the receipt service turns into a failed record.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import ParamSpec, TypeVar

import structlog

from billow.bus.connection import Bus
from billow.bus.consume import Delivery
from billow.bus.guard import Guard
from billow.bus.inference import InferenceClient
from billow.bus.link_bytes import observe_link_bytes
from billow.bus.publish import publish_event
from billow.runtime.errors import PermanentError
from billow.runtime.timing import Stopwatch
from billow.schemas.events import Analyzed, Recognized, event_id
from billow.schemas.geometry import Word
from billow.schemas.inference import Classifications, ClassifyTokens
from billow.services.layout.domain import assemble, split_words

log = structlog.get_logger()

_NOTHING = Classifications(labels=(), scores=(), groups=())


_LONG = 200
"""lines; a page or two take less than a thread costs, a long PDF some 100 ms."""

P = ParamSpec("P")
R = TypeVar("R")


async def _apart(event: Recognized, work: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
    """Do it off the event loop, where that would be held up."""
    if len(event.lines) <= _LONG:
        return work(*args, **options)
    return await asyncio.to_thread(work, *args, **options)


class LayoutHandler:
    """Turns recognized documents into analyzed ones."""

    def __init__(self, bus: Bus, inference: InferenceClient, guard: Guard, *, model: str) -> None:
        self._bus = bus
        self._guard = guard
        self._inference = inference
        self._model = model

    async def on_recognized(self, delivery: Delivery) -> None:
        """Label the words. Raises PermanentError for an unusable answer, TransientError to wait."""
        clock = Stopwatch()
        work = partial(self._analyze, clock)
        try:
            await self._guard.run(delivery.event(Recognized), work, again=delivery.deliveries > 1)
        finally:
            if spent := clock.sum(("token-classification",)):
                delivery.charge(spent)

    async def _analyze(self, clock: Stopwatch, event: Recognized, again: bool) -> None:
        sent: dict[str, int] = {}
        with clock.stage("layout"):
            words = await _apart(event, split_words, event.lines)
            found, model = await self._classify(event, words, clock, sent, again=again) if words else (_NOTHING, "")
            entities, items, taxes = await _apart(event, assemble, words, found)
        await publish_event(
            self._bus,
            Analyzed(
                tenant=event.tenant,
                document_id=event.document_id,
                event_id=event_id("analyzed", event.document_id, event.revision, event.run_id),
                occurred_at=datetime.now(UTC),
                revision=event.revision,
                deadline=event.deadline,
                run_id=event.run_id,
                origin=event.origin,
                pages=event.pages,
                entities=entities,
                items=items,
                taxes=taxes,
                kind=found.kind or event.kind,
                language=found.language or event.language,
                models=event.models | ({"token-classification": model} if model else {}),
                timings_ms=event.timings_ms | clock.ms,
                link_bytes=event.link_bytes | sent,
            ),
        )
        observe_link_bytes(sent)
        # A replay of thousands of documents would bury what is said of the others.
        say = log.info if event.run_id is None else log.debug
        say("analyzed", document=event.document_id, entities=len(entities), items=len(items))

    async def _classify(
        self, event: Recognized, words: tuple[Word, ...], clock: Stopwatch, sent: dict[str, int], *, again: bool
    ) -> tuple[Classifications, str]:
        """What the words are, and which model says so."""
        result = await self._inference.call(
            event,
            ClassifyTokens(pages=event.pages, words=words, kind=event.kind, language=event.language),
            task="token-classification",
            model=self._model,
            lane=event.origin.lane,
            again=again,
            sent=sent,
        )
        clock.add("token-classification", result.run_ms)
        if not isinstance(result.output, Classifications):
            raise PermanentError(
                f"Model {result.model} gave no usable answer to a token-classification request. Check its manifest's "
                "task, or use another model.",
                code="bad_answer",
            )
        return result.output, result.model
