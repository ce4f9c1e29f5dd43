"""Moves the bytes of objects in pipelines: many chunks in flight, and no more bytes than a connection bears."""

import asyncio
from collections.abc import Callable
from typing import cast

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError, Error, NoStreamResponseError

from billow.bus.budget import ByteBudget
from billow.bus.digests import RunningDigest
from billow.bus.objects import ApiError
from billow.bus.replies import Replies

CHUNK_SIZE = 128 * 1024
"""bytes; what stock clients use."""
IN_FLIGHT = 32 * 1024 * 1024
"""bytes in each direction of one connection, at most; half of what a server by default bears before it drops us."""
SLICE = 4 * 1024 * 1024
"""bytes asked for in one request, at most (and one chunk more)."""

_BURST = 512 * 1024
"""bytes published before the event loop gets a turn; 4 MB in one go take nearly twice as long."""


class _Ack(msgspec.Struct):
    error: ApiError | None = None


_ack_decoder = msgspec.json.Decoder(_Ack)


class Uploader:
    """Publishes chunks without waiting for each acknowledgement.

    Not by the client's `publish_async`: its future never ends when the server answers with an error.
    """

    def __init__(self, client: Client, replies: Replies, timeout: float) -> None:
        self._client = client
        self._replies = replies
        self._timeout = timeout
        self._budget = ByteBudget(IN_FLIGHT)

    async def send(self, subject: str, data: bytes, chunk_size: int) -> int:
        """Publish all of `data`; returns how many chunks it made, once the stream has all of them.

        Raises:
            nats.js.errors.Error: a chunk was refused. Some may have been stored, and none will be any more.
            TimeoutError: no acknowledgement for `timeout` seconds.
            nats.errors.Error: the connection is closed, or down with its buffer full.
        """
        acks, view = _Acks(), memoryview(data)
        try:
            for start in range(0, len(data), chunk_size):
                if acks.refusal is not None:
                    break
                await self._publish(subject, view[start : start + chunk_size], acks)
                if start // _BURST != (start + chunk_size) // _BURST:
                    # Publishing only fills a buffer. Let the client write it out, while the rest is prepared.
                    await asyncio.sleep(0)
            # After a refusal too: what is still under way would otherwise arrive after its purge.
            await acks.all(self._timeout)
        finally:
            acks.close()
        if acks.refusal is not None:
            raise acks.refusal
        return acks.count

    async def _publish(self, subject: str, chunk: memoryview, acks: "_Acks") -> None:
        taken = await self._budget.take(len(chunk))
        reply = ""

        def end() -> None:
            self._budget.give(taken)
            self._replies.close(reply)

        acks.expect(end)
        reply = await self._replies.open(lambda message: acks.settle(end, message))
        # The client joins the pieces of what it sends, so a view will do and saves a copy.
        await self._client.publish(subject, cast("bytes", chunk), reply=reply)


class _Acks:
    """The acknowledgements of one upload."""

    def __init__(self) -> None:
        self.count = 0
        self.refusal: Error | None = None
        """The first one."""
        self._waiting: set[Callable[[], None]] = set()
        self._ended: asyncio.Future[None] | None = None

    def expect(self, end: Callable[[], None]) -> None:
        """One more; `end` is called when it is here, or no longer waited for."""
        self.count += 1
        self._waiting.add(end)

    def settle(self, end: Callable[[], None], message: Msg) -> None:
        """It is here."""
        if end in self._waiting:
            self._waiting.remove(end)
            end()
            self.refusal = self.refusal or _refusal(message)
            if not self._waiting and self._ended is not None and not self._ended.done():
                self._ended.set_result(None)

    async def all(self, timeout: float) -> None:
        """Wait until none is missing.

        Raises:
            TimeoutError: none came for `timeout` seconds.
        """
        self._ended = asyncio.get_running_loop().create_future()
        while missing := len(self._waiting):
            await asyncio.wait({self._ended}, timeout=timeout)
            if len(self._waiting) == missing:
                raise TimeoutError("no part of it is acknowledged")

    def close(self) -> None:
        """Wait no more."""
        for end in self._waiting:
            end()
        self._waiting.clear()


def _refusal(message: Msg) -> Error | None:
    """What the acknowledgement says; None if the chunk is stored."""
    if not message.data and (message.headers or {}).get("Status") == "503":
        return NoStreamResponseError()
    try:
        error = _ack_decoder.decode(message.data).error
    except msgspec.DecodeError:
        error = ApiError(description="an acknowledgement that is none")
    return error and APIError(code=error.code, err_code=error.err_code, description=error.description)


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

    def __init__(self, client: Client, replies: Replies, prefix: str, timeout: float) -> None:
        self._client = client
        self._prefix = prefix
        self._timeout = timeout
        self._budget = ByteBudget(IN_FLIGHT)
        self._replies = replies

    async def fetch(self, stream: str, subject: str, size: int, chunks: int, digest: RunningDigest) -> list[bytes]:
        """The messages on `subject`, oldest first, until they make `size` bytes or there are no more.

        Each goes into `digest` as it arrives. The result is short if the replica that answers does not have all of
        them, or the stream does not allow direct get.

        Raises:
            TimeoutError: nothing arrived for `timeout` seconds.
            nats.errors.Error: the connection is down.
        """
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
        part = _Slice(digest)
        request = {"seq": seq, "next_by_subj": subject, "batch": batch, "max_bytes": SLICE}
        reply = await self._replies.open(part.add)
        try:
            await self._client.publish(f"{self._prefix}.DIRECT.GET.{stream}", msgspec.json.encode(request), reply=reply)
            while not part.ended.done():
                before = part.size
                await asyncio.wait({part.ended}, timeout=self._timeout)
                if not part.ended.done() and part.size == before:
                    raise TimeoutError("no part of it arrives")
        finally:
            self._replies.close(reply)
        return part
