"""An event loop on a thread of its own, for callers that have none."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")

_END: Final = object()


class LoopThread:
    """Runs coroutines for any number of other threads. It ends with the process."""

    def __init__(self, name: str) -> None:
        """Starts the thread."""
        self._loop = asyncio.new_event_loop()
        self._process = os.getpid()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` there and wait here; an interrupt, as by Ctrl-C, cancels it.

        Raises:
            RuntimeError: the thread belongs to a process that forked, has ended, or is the one that calls.
        """
        try:
            self._check()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[T]) -> Generator[T]:
        """Go through `items`, each awaited there; leaving early closes them."""

        async def following() -> Any:
            return await anext(items, _END)

        try:
            while (item := self.call(following())) is not _END:
                yield item
        finally:
            with suppress(RuntimeError):  # closed before the iterator was
                self.call(items.aclose())

    def stop(self) -> None:
        """End what still runs, then the thread. Safe to call twice."""
        if self._loop.is_closed():
            return
        self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()

    def _check(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("This client was connected before the process forked. Connect one in each process.")
        if self._loop.is_closed():
            raise RuntimeError("Not connected: this client was closed.")
        if threading.current_thread() is self._thread:
            raise RuntimeError("This would wait for itself: the client's own thread cannot call it.")
