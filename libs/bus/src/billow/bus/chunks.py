"""Moves the bytes of objects in pipelines: many chunks in flight, and no more bytes than a connection bears."""

import asyncio

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
_LOOK_BACK = 256
"""Acknowledgements looked at before each chunk; all that can be in flight, at the usual size."""


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
        acks: list[asyncio.Future[None]] = []
        refusals: list[Error] = []
        try:
            for start in range(0, len(data), chunk_size):
                if any(ack.done() and ack.exception() for ack in acks[-_LOOK_BACK:]):
                    break
                acks.append(await self._publish(subject, data[start : start + chunk_size]))
                if start // _BURST != (start + chunk_size) // _BURST:
                    # Publishing only fills a buffer. Let the client write it out, while the rest is prepared.
                    await asyncio.sleep(0)
            for ack in acks:
                # After a refusal too: what is still under way would otherwise arrive after its purge.
                try:
                    await asyncio.wait_for(ack, self._timeout)
                except Error as e:
                    refusals.append(e)
            if refusals:
                raise refusals[0]
        finally:
            for ack in acks:
                if not ack.cancel() and not ack.cancelled():
                    ack.exception()  # seen, so that nobody reports it as never retrieved
        return len(acks)

    async def _publish(self, subject: str, chunk: bytes) -> asyncio.Future[None]:
        taken = await self._budget.take(len(chunk))
        ack: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ack.add_done_callback(lambda _: self._budget.give(taken))
        try:
            reply = await self._replies.open(lambda message: _settle(ack, message))
            ack.add_done_callback(lambda _: self._replies.close(reply))
            await self._client.publish(subject, chunk, reply=reply)
        except BaseException:
            ack.cancel()
            raise
        return ack


def _settle(ack: asyncio.Future[None], message: Msg) -> None:
    if ack.done():
        return
    if (message.headers or {}).get("Status") == "503":
        ack.set_exception(NoStreamResponseError())
        return
    try:
        error = _ack_decoder.decode(message.data).error
    except msgspec.DecodeError:
        error = ApiError(description="an acknowledgement that is none")
    if error is None:
        ack.set_result(None)
    else:
        ack.set_exception(APIError(code=error.code, err_code=error.err_code, description=error.description))


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
