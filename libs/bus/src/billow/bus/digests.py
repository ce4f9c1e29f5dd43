"""sha256 without holding up the event loop."""

import asyncio
import hashlib

LARGE = 512 * 1024
"""bytes; working on fewer is not worth handing them to a thread."""


class RunningDigest:
    """A sha256 over chunks as they arrive, computed in threads meanwhile, so that hashing costs no extra time."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None

    def feed(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self._waiting.append(chunk)
        self._size += len(chunk)
        self._go_on()

    async def finish(self) -> bytes:
        """The digest of all that was fed."""
        while self._task is not None:
            await asyncio.wait({self._task})
        self._update(self._take())
        return self._hash.digest()

    def _go_on(self) -> None:
        if self._task is None and self._size > LARGE:
            self._task = asyncio.create_task(asyncio.to_thread(self._update, self._take()))
            self._task.add_done_callback(self._done)

    def _done(self, _: asyncio.Task[None]) -> None:
        self._task = None
        self._go_on()

    def _take(self) -> list[bytes]:
        chunks, self._waiting, self._size = self._waiting, [], 0
        return chunks

    def _update(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._hash.update(chunk)


async def sha256_of(data: bytes) -> bytes:
    """The digest, off the event loop if that is worth it."""
    if len(data) <= LARGE:
        return hashlib.sha256(data).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
