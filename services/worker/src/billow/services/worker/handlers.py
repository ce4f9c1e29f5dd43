"""Inference work in, results out.

Consumes: `inference.<task>.<model>.<lane>.*`. Publishes: `results.<tenant>.<task>.<request_id>`.
Idempotent by: work whose result is stored already is only acknowledged.
On failure: a payload that cannot be used is answered with an error, as is one that takes more memory than there is; a
crash of the model gives the work back, and after five such deliveries, the last one alone, it becomes a dead letter and
its caller gets an error. A model that hangs ends its process.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from billow.bus.unwanted import Reason
from billow.bus.work import WorkItem, WorkQueue
from billow.schemas.inference import InferenceResult
from billow.services.worker.errors import ModelHungError
from billow.services.worker.metrics import WorkerMetrics
from billow.services.worker.statistics import WorkerStatistics
from billow.services.worker.tasks.memory import OUT_OF_MEMORY, too_large
from billow.services.worker.tasks.protocol import Answer, TaskModel

log = structlog.get_logger()


class ModelHost:
    """Runs one model on one thread, and fetches and answers beside it."""

    def __init__(
        self,
        queue: WorkQueue,
        model: TaskModel,
        *,
        token: str,
        worker: str,
        statistics: WorkerStatistics,
        run_limit: float = 0.0,
    ) -> None:
        """`run_limit`: seconds that the model may take for one batch; 0 for no limit."""
        self._queue = queue
        self._statistics = statistics
        self._metrics = WorkerMetrics(token)
        self._model = model
        self._token = token
        self._worker = worker
        self._run_limit = run_limit
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._answers: set[asyncio.Task[None]] = set()
        queue.on_drop(self._dropped)

    async def warm_up(self) -> None:
        """Run the model once on every shape it will see."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._model.warm_up)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then answer what is in hand and give back the rest.

        Raises:
            ModelHungError: a batch took longer than the limit. Everything in hand was given back, and one thread is
                stuck for ever, so the process cannot end in an orderly way.
        """
        stopper = asyncio.create_task(self._stop_when(stopping))
        try:
            while batch := await self._queue.take():
                await self._work_on(batch)
        except ModelHungError:
            stopper.cancel()
            await self._queue.stop()
            raise
        finally:
            self._thread.shutdown(wait=False)
        await asyncio.gather(stopper, *self._answers)
        self._queue.close()

    async def _stop_when(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        await self._queue.stop()

    async def _work_on(self, batch: Sequence[WorkItem]) -> None:
        for item in batch:
            self._metrics.taken(item.queue_ms)
        try:
            answered = await self._run(batch)
        except ModelHungError:
            log.error(
                "the model hangs, its work goes back and this process ends",
                model=self._token,
                limit_s=self._run_limit,
                documents=sorted({f"{item.tenant}/{item.work.document_id}" for item in batch}),
            )
            await asyncio.gather(*(self._give_back(item) for item in batch), *self._answers)
            raise
        for item, answer in zip(batch, answered, strict=True):
            self._queue.charge(item, answer.run_ms if answer else 0.0)
        # Answering the last batch overlaps with running the next one.
        task = asyncio.create_task(self._answer(batch, answered))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _run(self, batch: Sequence[WorkItem]) -> list[Answer | None]:
        """An answer for each, None where the model failed; a batch that fails is halved to find out which did it."""
        started = time.perf_counter()
        try:
            answers = await self._call(batch)
        except ModelHungError:
            raise
        except Exception as e:
            if len(batch) > 1:
                log.warning("a batch failed, its halves are run", requests=len(batch), reason=repr(e))
                half = len(batch) // 2
                return [*await self._run(batch[:half]), *await self._run(batch[half:])]
            log.exception("the model failed", document=batch[0].work.document_id, tenant=batch[0].tenant)
            return [Answer(error=too_large("request")) if _is_out_of_memory(e) else None]
        ms = (time.perf_counter() - started) * 1000
        items, run_ms = sum(item.items for item in batch), sum(answer.run_ms for answer in answers)
        self._statistics.count(len(batch), items, ms, run_ms)
        self._metrics.batch(items, ms, run_ms)
        log.debug("batch", requests=len(batch), items=items, ms=round(ms, 1))
        return list(answers)

    async def _call(self, batch: Sequence[WorkItem]) -> Sequence[Answer]:
        payloads = [item.work.payload for item in batch]
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._model.run, payloads)
        done, _ = await asyncio.wait({running}, timeout=self._run_limit or None)
        if not done:
            raise ModelHungError(
                f"{self._token} took longer than {self._run_limit:g} s for one batch. Its work goes to other workers; "
                "start this one again. If the model really needs longer, raise BILLOW_RUN_LIMIT."
            )
        answers = running.result()
        if len(answers) != len(batch):
            raise RuntimeError(f"the model gave {len(answers)} answers to {len(batch)} requests")
        return answers

    async def _answer(self, batch: Sequence[WorkItem], answers: Sequence[Answer | None]) -> None:
        await asyncio.gather(
            *(
                self._send(item, answer) if answer else self._give_back(item)
                for item, answer in zip(batch, answers, strict=True)
            )
        )

    async def _send(self, item: WorkItem, answer: Answer) -> None:
        self._metrics.ended("answered" if answer.error is None else "refused")
        result = InferenceResult(
            request_id=item.work.request_id,
            model=self._token,
            worker=self._worker,
            output=answer.output,
            error=answer.error,
            run_ms=round(answer.run_ms, 3),
            queue_ms=round(item.queue_ms, 3),
        )
        await self._queue.answer(item, result)

    async def _give_back(self, item: WorkItem) -> None:
        self._metrics.ended("given_back")
        await self._queue.give_back(item)

    def _dropped(self, item: WorkItem, reason: Reason) -> None:
        self._metrics.saved(reason, self._statistics.save(item.items))
        self._metrics.ended(reason)


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or getattr(error, "code", None) == OUT_OF_MEMORY
