"""Inference work in, results out.

Consumes: `inference.<task>.<model>.<lane>.*`. Publishes: `results.<tenant>.<task>.<request_id>`.
Idempotent by: work whose result is stored already is only acknowledged.
On failure: a payload that cannot be used is answered with an error; a crash of the model gives the work back, and after
five such deliveries, the last one alone, it becomes a dead letter and its caller gets an error.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import structlog

from billow.bus.work import WorkItem, WorkQueue
from billow.schemas.inference import InferenceResult
from billow.schemas.record import Failure
from billow.services.worker.statistics import WorkerStatistics
from billow.services.worker.tasks.protocol import Answer, TaskModel

log = structlog.get_logger()


class ModelHost:
    """Runs one model on one thread, and fetches and answers beside it."""

    def __init__(
        self, queue: WorkQueue, model: TaskModel, *, token: str, worker: str, statistics: WorkerStatistics
    ) -> None:
        self._queue = queue
        self._statistics = statistics
        self._model = model
        self._token = token
        self._worker = worker
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def warm_up(self) -> None:
        """Run the model once on every shape it will see."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._model.warm_up)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then answer what is in hand and give back the rest."""
        stopper = asyncio.create_task(self._stop_when(stopping))
        answers: set[asyncio.Task[None]] = set()
        while batch := await self._queue.take():
            wanted = await self._drop_expired(batch)
            if not wanted:
                continue
            answered = await self._run(wanted)
            # Answering the last batch overlaps with running the next one.
            task = asyncio.create_task(self._answer(wanted, answered))
            answers.add(task)
            task.add_done_callback(answers.discard)
        await asyncio.gather(stopper, *answers)
        self._queue.close()
        self._thread.shutdown(wait=False)

    async def _stop_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        await self._queue.stop()

    async def _drop_expired(self, batch: Sequence[WorkItem]) -> list[WorkItem]:
        now = datetime.now(UTC)
        wanted: list[WorkItem] = []
        for item in batch:
            if item.work.deadline is not None and item.work.deadline <= now:
                await self._queue.answer(item, self._result(item, Answer(error=_too_late())))
            else:
                wanted.append(item)
        return wanted

    async def _run(self, batch: Sequence[WorkItem]) -> Sequence[Answer | None]:
        """An answer for each, None where the model failed; a batch that fails is run one by one to find out which."""
        started = time.perf_counter()
        payloads = [item.work.payload for item in batch]
        try:
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, self._model.run, payloads)
            if len(answers) != len(batch):
                raise RuntimeError(f"the model gave {len(answers)} answers to {len(batch)} requests")
        except Exception:
            log.exception("the model failed", requests=len(batch))
            if len(batch) == 1:
                return [None]
            return [answer for item in batch for answer in await self._run([item])]
        ms = (time.perf_counter() - started) * 1000
        self._statistics.count(len(batch), ms)
        log.debug("batch", requests=len(batch), ms=round(ms, 1))
        return answers

    async def _answer(self, batch: Sequence[WorkItem], answers: Sequence[Answer | None]) -> None:
        await asyncio.gather(
            *(
                self._queue.answer(item, self._result(item, answer)) if answer else self._queue.give_back(item)
                for item, answer in zip(batch, answers, strict=True)
            )
        )

    def _result(self, item: WorkItem, answer: Answer) -> InferenceResult:
        return InferenceResult(
            request_id=item.work.request_id,
            model=self._token,
            worker=self._worker,
            output=answer.output,
            error=answer.error,
            run_ms=round(answer.run_ms, 3),
            queue_ms=round(item.queue_ms, 3),
        )


def _too_late() -> Failure:
    return Failure(
        code="deadline_exceeded",
        message="The deadline of the document passed before a model had time for it. Submit it again with a later one.",
        retryable=True,
        stage="worker",
    )
