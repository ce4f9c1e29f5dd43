"""Consumes: `recognized`. Publishes: `analyzed`.

Idempotent by: the event id; on redelivery an outcome that was stated before is not worked out again.
On failure: what cannot be analysed becomes a dead letter, which the receipt service turns into a failed record.
"""

import asyncio
from datetime import UTC, datetime

import structlog

from billow.bus.connection import Bus
from billow.bus.consume import Delivery
from billow.bus.inference import InferenceClient
from billow.bus.publish import already_stated, publish_event
from billow.runtime.errors import PermanentError
from billow.runtime.timing import Stopwatch
from billow.schemas.events import Analyzed, Recognized, event_id
from billow.schemas.geometry import Word
from billow.schemas.inference import Classifications, ClassifyTokens
from billow.services.layout.domain import assemble, split_words

log = structlog.get_logger()

_NOTHING = Classifications(labels=(), scores=(), groups=())


class LayoutHandler:
    """Turns recognized documents into analyzed ones."""

    def __init__(self, bus: Bus, inference: InferenceClient, *, model: str) -> None:
        self._bus = bus
        self._inference = inference
        self._model = model

    async def on_recognized(self, delivery: Delivery) -> None:
        """Label the words. Raises PermanentError for an unusable answer, TransientError to wait."""
        event = delivery.event(Recognized)
        again = delivery.deliveries > 1
        if again and await already_stated(self._bus, Analyzed, event):
            return
        if event.deadline is not None and event.deadline <= datetime.now(UTC):
            raise _too_late(event.deadline)
        if again:
            await self._inference.still_waiting(event)
        clock = Stopwatch()
        with clock.stage("layout"):
            # A long PDF takes these some 100 ms.
            words = await asyncio.to_thread(split_words, event.lines)
            found = await self._classify(event, words, clock, again=again) if words else _NOTHING
            entities, items, taxes = await asyncio.to_thread(assemble, words, found)
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
                models=event.models | ({"token-classification": self._model} if words else {}),
                timings_ms=event.timings_ms | clock.ms,
            ),
        )
        log.info("analyzed", document=event.document_id, entities=len(entities), items=len(items))

    async def _classify(
        self, event: Recognized, words: tuple[Word, ...], clock: Stopwatch, *, again: bool
    ) -> Classifications:
        result = await self._inference.call(
            event,
            ClassifyTokens(pages=event.pages, words=words, kind=event.kind, language=event.language),
            task="token-classification",
            model=self._model,
            lane=event.origin.lane,
            again=again,
        )
        clock.add("token-classification", result.run_ms)
        if not isinstance(result.output, Classifications):
            raise PermanentError(
                f"Model {result.model} gave no usable answer to a token-classification request. Check its manifest's "
                "task, or use another model.",
                code="bad_answer",
            )
        return result.output


def _too_late(deadline: datetime) -> PermanentError:
    return PermanentError(
        f"The deadline {deadline.isoformat()} passed before the document was analysed. Submit it with a later one.",
        code="deadline_exceeded",
        retryable=True,
    )
