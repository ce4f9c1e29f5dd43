"""A limit on the bytes in flight over one connection."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class ByteBudget:
    """Lets so many bytes be in flight; others wait, first come first served."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free = limit
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> int:
        """Wait for `size` bytes; what is larger than the limit waits for all of it. Returns what to give back."""
        size = min(size, self._limit)
        if not self._waiting and size <= self._free:
            self._free -= size
            return size
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)
            else:
                self._waiting.remove((size, turn))
                self._next()
            raise
        return size

    def give(self, size: int) -> None:
        """Return bytes that were taken."""
        self._free += size
        self._next()

    def _next(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            size, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= size
                turn.set_result(None)

    @asynccontextmanager
    async def held(self, size: int) -> AsyncGenerator[None]:
        """Hold `size` bytes."""
        taken = await self.take(size)
        try:
            yield
        finally:
            self.give(taken)
