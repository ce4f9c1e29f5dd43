"""Many documents with a bounded number on their way; each result as soon as it is there."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from billow.bus.faults import BusyError
from billow.runtime.errors import BillowError
from billow.runtime.tasks import end_tasks
from billow.schemas.record import Record

T = TypeVar("T")

LONGEST_PAUSE = 30.0
"""seconds between two tries of a system that is full"""
_SHORTEST_PAUSE = 0.1


class BatchResult(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """What became of one document of a batch."""

    index: int
    """Its place among the documents, from 0."""
    document: T
    """As it was given."""
    record: Record | None = None
    """None where there is an `error`."""
    error: Exception | None = None
    """Why there is no record: it could not be read or handed in, or there was none in time."""

    @property
    def completed(self) -> bool:
        """Whether there is a record with what was read."""
        return self.record is not None and self.record.status == "completed"


class BatchProgress(msgspec.Struct, frozen=True):
    """How far a batch is, for a progress bar."""

    begun: int
    """Documents taken from the iterable."""
    completed: int
    failed: int
    """Without a completed record."""
    waits: int
    """Times that the system was too busy to accept one."""

    @property
    def in_hand(self) -> int:
        """Documents on their way."""
        return self.begun - self.completed - self.failed


Patiently = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
"""Does the given work, and again while the system is too busy."""
Extract = Callable[[T, Patiently], Awaitable[Record]]
"""Reads one, hands it in patiently and waits for its record."""
OnProgress = Callable[[BatchProgress], None]


class Batch(Generic[T]):
    """One run over documents."""

    def __init__(self, extract: Extract[T], *, concurrency: int, on_progress: OnProgress | None) -> None:
        """Raises ValueError where `concurrency` is less than 1."""
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}, at least 1 is needed")
        self._extract = extract
        self._concurrency = concurrency
        self._on_progress = on_progress
        self._begun = self._completed = self._failed = self._waits = 0

    async def run(self, documents: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[BatchResult[T]]:
        """Results as they come. The iterable is asked for the next document only when there is room for it.

        Ending early gives up what is on its way: what was handed in already is worked on all the same.
        """
        source = _each(documents)
        running: set[asyncio.Task[BatchResult[T]]] = set()
        more = True
        try:
            while more or running:
                while more and len(running) < self._concurrency:
                    try:
                        document = await anext(source)
                    except StopAsyncIteration:
                        more = False
                        break
                    running.add(asyncio.create_task(self._one(self._begun, document)))
                    self._begun += 1
                    self._tell()
                    if any(task.done() for task in running):
                        break
                if not running:
                    return
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda task: task.result().index):
                    result = task.result()
                    self._completed += result.completed
                    self._failed += not result.completed
                    self._tell()
                    yield result
        finally:
            await end_tasks(running)

    async def _one(self, index: int, document: T) -> BatchResult[T]:
        try:
            record = await self._extract(document, self._patiently)
        except (BillowError, TimeoutError, OSError, ValueError, TypeError) as e:
            return BatchResult(index=index, document=document, error=e)
        return BatchResult(index=index, document=document, record=record)

    async def _patiently(self, work: Callable[[], Awaitable[None]]) -> None:
        """A full system is no failure: come back when it says so, and ever later while it stays full."""
        pause = 0.0
        while True:
            try:
                return await work()
            except BusyError as e:
                self._waits += 1
                self._tell()
                pause = min(max(e.delay, 1.5 * pause, _SHORTEST_PAUSE), LONGEST_PAUSE)
                await asyncio.sleep(pause)

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(BatchProgress(self._begun, self._completed, self._failed, self._waits))


async def _each(documents: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(documents, AsyncIterable):
        async for document in documents:
            yield document
    else:
        for document in documents:
            yield document
