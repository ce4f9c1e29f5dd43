"""sha256 without holding up the event loop."""

import asyncio
import contextlib
import hashlib
from queue import SimpleQueue
from threading import Thread

LARGE = 512 * 1024
"""bytes; working on fewer is not worth handing them to a thread."""


class RunningDigest:
    """A sha256 over chunks as they arrive, computed in a thread of its own meanwhile, so that hashing costs less time.

    Not in the loop's threads: it waits for the network, and others need those.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._chunks: SimpleQueue[bytes | None] = SimpleQueue()
        self._size = 0
        self._done: asyncio.Future[None] | None = None

    def feed(self, chunk: bytes) -> None:
        """Add the next bytes."""
        self._chunks.put(chunk)
        self._size += len(chunk)
        if self._done is None and self._size > LARGE:
            loop = asyncio.get_running_loop()
            self._done = loop.create_future()
            Thread(target=self._run, args=(loop, self._done), name="digest", daemon=True).start()

    async def finish(self) -> bytes:
        """The digest of all that was fed."""
        self.close()
        if self._done is not None:
            await asyncio.shield(self._done)
        else:
            self._drain()
        return self._hash.digest()

    def close(self) -> None:
        """No more will be fed. Safe to call twice."""
        self._chunks.put(None)

    def _run(self, loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
        self._drain()
        # The loop may be gone by now, and with it whoever waited.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: done.done() or done.set_result(None))

    def _drain(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._hash.update(chunk)


async def sha256_of(data: bytes) -> bytes:
    """The digest, off the event loop if that is worth it."""
    if len(data) <= LARGE:
        return hashlib.sha256(data).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).digest())
