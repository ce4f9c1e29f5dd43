"""Moves the bytes of objects in pipelines: many chunks in flight, and no more bytes than a connection bears."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import PubAck

CHUNK_SIZE = 128 * 1024
"""bytes; what stock clients use."""
IN_FLIGHT = 32 * 1024 * 1024
"""bytes in each direction of one connection, at most; half of what a server by default bears before it drops us."""
SLICE = 4 * 1024 * 1024
"""bytes asked for in one request, at most (and one chunk more)."""
LARGE = 256 * 1024
"""bytes; working on fewer is not worth handing them to a thread."""


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


class Uploader:
    """Publishes chunks without waiting for each acknowledgement."""

    def __init__(self, js: JetStreamContext, timeout: float) -> None:
        self._js = js
        self._timeout = timeout
        self._budget = ByteBudget(IN_FLIGHT)

    async def send(self, subject: str, data: bytes, chunk_size: int) -> int:
        """Publish all of `data`; returns how many chunks it made, once the stream has all of them.

        Raises:
            TimeoutError: no acknowledgement for `timeout` seconds.
            nats.errors.Error, nats.js.errors.Error: a chunk was refused; some may have been stored.
        """
        acks: list[asyncio.Future[PubAck]] = []
        try:
            for start in range(0, len(data), chunk_size):
                acks.append(await self._publish(subject, data[start : start + chunk_size]))
            for ack in acks:
                await asyncio.wait_for(ack, self._timeout)
        finally:
            for ack in acks:
                if not ack.cancel() and not ack.cancelled():
                    ack.exception()  # seen, so that nobody reports it as never retrieved
        return len(acks)

    async def _publish(self, subject: str, chunk: bytes) -> asyncio.Future[PubAck]:
        taken = await self._budget.take(len(chunk))
        try:
            ack = await self._js.publish_async(subject, chunk)  # pyright: ignore[reportUnknownMemberType]
        except BaseException:
            self._budget.give(taken)
            raise
        ack.add_done_callback(lambda _: self._budget.give(taken))
        return ack


class _Slice:
    """The messages that answer one request."""

    def __init__(self, digest: RunningDigest) -> None:
        self.chunks: list[bytes] = []
        self.last_seq = 0
        self.size = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._digest = digest

    def add(self, message: Msg) -> None:
        headers = message.headers or {}
        if "Status" in headers:  # 204 end of batch, 404 no more, 503 nobody answers
            self.end()
            return
        self.chunks.append(message.data)
        self.size += len(message.data)
        self.last_seq = int(headers["Nats-Sequence"])
        self._digest.feed(message.data)
        if "Nats-Num-Pending" not in headers:  # a server before 2.11 knows no batches and sends just the first
            self.end()

    def end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Downloader:
    """Fetches chunks by direct get in batches (ADR-31): one request for up to `SLICE` bytes."""

    def __init__(self, client: Client, prefix: str, timeout: float) -> None:
        self._client = client
        self._prefix = prefix
        self._timeout = timeout
        self._budget = ByteBudget(IN_FLIGHT)
        self._inbox = client.new_inbox()
        self._subscribed: asyncio.Task[Subscription] | None = None
        self._slices: dict[str, _Slice] = {}
        self._count = 0

    async def fetch(self, stream: str, subject: str, size: int, chunks: int, digest: RunningDigest) -> list[bytes]:
        """The messages on `subject`, oldest first, until they make `size` bytes or there are no more.

        Each goes into `digest` as it arrives. The result is short if the replica that answers does not have all of
        them, or the stream does not allow direct get.

        Raises:
            TimeoutError: nothing arrived for `timeout` seconds.
            nats.errors.Error: the connection is down.
        """
        await self._listen()
        got: list[bytes] = []
        missing = size
        seq = 1
        while missing > 0:
            async with self._budget.held(min(missing, SLICE)):
                part = await self._fetch_slice(stream, subject, seq, max(chunks - len(got), 1), digest)
            if not part.chunks:
                break
            got += part.chunks
            missing -= part.size
            seq = part.last_seq + 1
        return got

    async def _fetch_slice(self, stream: str, subject: str, seq: int, batch: int, digest: RunningDigest) -> _Slice:
        self._count += 1
        token = str(self._count)
        part = self._slices[token] = _Slice(digest)
        request = {"seq": seq, "next_by_subj": subject, "batch": batch, "max_bytes": SLICE}
        try:
            await self._client.publish(
                f"{self._prefix}.DIRECT.GET.{stream}", msgspec.json.encode(request), reply=f"{self._inbox}.{token}"
            )
            while not part.ended.done():
                before = part.size
                await asyncio.wait({part.ended}, timeout=self._timeout)
                if not part.ended.done() and part.size == before:
                    raise TimeoutError("no part of it arrives")
        finally:
            del self._slices[token]
        return part

    async def _listen(self) -> None:
        """One subscription for all answers; it lives as long as the connection and survives reconnects."""
        if self._subscribed is None or (self._subscribed.done() and self._subscribed.exception()):
            self._subscribed = asyncio.create_task(
                self._client.subscribe(f"{self._inbox}.*", cb=self._on_message)  # pyright: ignore[reportUnknownMemberType]
            )
        await asyncio.shield(self._subscribed)

    async def _on_message(self, message: Msg) -> None:
        part = self._slices.get(message.subject.rpartition(".")[2])
        if part is not None:
            part.add(message)
