"""How a NATS object store lies in its stream (ADR-20): names, the message that describes an object, reading it back.

The stream `OBJ_<bucket>` holds an object's bytes as chunks on `$O.<bucket>.C.<nuid>`, a new nuid for each put, and one
describing message on `$O.<bucket>.M.<base64url of the name>`, which replaces the one before it.
"""

import asyncio
import base64
import hashlib
from datetime import datetime
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.js import api
from nats.js.errors import APIError

from billow.bus.digests import LARGE
from billow.schemas import codec

DIGEST_PREFIX = "SHA-256="
_NO_MESSAGE = 10037
_NO_STREAM = 10059


class ObjectOptions(msgspec.Struct, omit_defaults=True):
    """`link` says that the bytes are those of another object or bucket."""

    link: dict[str, Any] | None = None
    max_chunk_size: int | None = None


class ObjectInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The describing message. Other clients leave out or null what they do not use.

    Written to the letter of the stock client: size 0 must be said, or its readers wait for ever; `mtime` is not stored.
    """

    name: str
    bucket: str = ""
    nuid: str = ""
    size: int | None = None
    """bytes"""
    chunks: int | None = None
    digest: str | None = None
    """`SHA-256=` and the base64url of the digest."""
    deleted: bool | None = False
    description: str | None = None
    metadata: Any = None
    """str -> str"""
    options: ObjectOptions | None = None


class Stored(msgspec.Struct, frozen=True):
    """An object's describing message and where it stands in the stream."""

    info: ObjectInfo | None
    """None if the message describes nothing: some client wrote what it should not."""
    seq: int
    time: datetime


class NoMessageError(Exception):
    """The stream holds no such message."""


class NoBucketError(NoMessageError):
    """There is not even a stream."""


class ApiError(msgspec.Struct):
    """Why the server refuses."""

    code: int = 500
    err_code: int = 0
    description: str = ""


class RawMessage(msgspec.Struct):
    """A message as the stream's leader returns it; its bytes travel as base64."""

    seq: int
    time: datetime
    data: bytes = b""


class _RawReply(msgspec.Struct):
    message: RawMessage | None = None
    error: ApiError | None = None


_info_decoder = msgspec.json.Decoder(ObjectInfo)
_raw_decoder = msgspec.json.Decoder(_RawReply)


def stream_name(bucket: str) -> str:
    """The stream that backs a bucket."""
    return f"OBJ_{bucket}"


def chunks_subject(bucket: str, nuid: str) -> str:
    """Where the bytes of one put lie."""
    return f"$O.{bucket}.C.{nuid}"


def info_subject(bucket: str, name: str) -> str:
    """Where the object is described."""
    return f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def bucket_config(bucket: str, *, max_age: float, replicas: int) -> api.StreamConfig:
    """The stream as a stock client creates it; `max_age` in seconds, 0 keeps for ever."""
    return api.StreamConfig(
        name=stream_name(bucket),
        subjects=[f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
        max_age=max_age,
        storage=api.StorageType.FILE,
        num_replicas=replicas,
        discard=api.DiscardPolicy.NEW,
        allow_rollup_hdrs=True,
        allow_direct=True,
    )


def digest_text(digest: bytes) -> str:
    """A sha256 as the describing message has it."""
    return DIGEST_PREFIX + base64.urlsafe_b64encode(digest).decode()


def digest_bytes(text: str) -> bytes | None:
    """The sha256 out of a describing message; None if it holds none."""
    name, _, value = text.partition("=")
    try:
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except ValueError:
        return None
    return raw if name.upper() == "SHA-256" and len(raw) == hashlib.sha256().digest_size else None


def _parse(data: bytes, seq: int, time: datetime) -> Stored:
    try:
        return Stored(_info_decoder.decode(data), seq, time)
    except codec.UNREADABLE:
        return Stored(None, seq, time)


class ObjectReader:
    """Reads describing messages and single chunks. `prefix` is that of the JetStream API, with its domain."""

    def __init__(self, client: Client, prefix: str, timeout: float) -> None:
        self._client = client
        self._prefix = prefix
        self._timeout = timeout

    async def describe(self, bucket: str, name: str, *, leader: bool = False) -> Stored:
        """What the bucket says about an object, deleted or not.

        Any replica may answer, and be behind; what is not there is therefore asked again of the leader. With
        `leader` only that one is asked.

        Raises:
            NoBucketError, NoMessageError: as they say.
            TimeoutError, nats.errors.Error: no answer.
        """
        subject = info_subject(bucket, name)
        if not leader:
            try:
                reply = await self._client.request(
                    f"{self._prefix}.DIRECT.GET.{stream_name(bucket)}.{subject}", timeout=self._timeout
                )
            except NoRespondersError:  # no such bucket, or one that does not allow direct get
                reply = None
            headers = (reply.headers if reply else None) or {}
            if reply is not None and "Nats-Sequence" in headers:
                time = msgspec.convert(headers["Nats-Time-Stamp"], datetime)
                return _parse(reply.data, int(headers["Nats-Sequence"]), time)
        message = await self.message(bucket, {"last_by_subj": subject})
        return _parse(message.data, message.seq, message.time)

    async def message(self, bucket: str, which: dict[str, Any]) -> RawMessage:
        """One message of the stream as its leader has it. Slower than direct get, and always up to date.

        Raises:
            NoBucketError, NoMessageError: as they say.
            APIError, TimeoutError, nats.errors.Error: refused, or no answer.
        """
        reply = await self._client.request(
            f"{self._prefix}.STREAM.MSG.GET.{stream_name(bucket)}", msgspec.json.encode(which), timeout=self._timeout
        )
        if len(reply.data) > LARGE:
            answer = await asyncio.to_thread(_raw_decoder.decode, reply.data)
        else:
            answer = _raw_decoder.decode(reply.data)
        if answer.message is not None:
            return answer.message
        error = answer.error or ApiError(description="empty reply")
        if error.err_code == _NO_STREAM:
            raise NoBucketError
        if error.err_code == _NO_MESSAGE:
            raise NoMessageError
        raise APIError(code=error.code, err_code=error.err_code, description=error.description)

    async def chunks(self, bucket: str, subject: str, size: int) -> list[bytes]:
        """The messages on `subject`, oldest first, one by one from the leader, until they make `size` bytes.

        The result is short if there are no more of them.

        Raises:
            NoBucketError, APIError, TimeoutError, nats.errors.Error: as `message`.
        """
        found: list[bytes] = []
        seq = 1
        while size > 0:
            try:
                message = await self.message(bucket, {"seq": seq, "next_by_subj": subject})
            except NoMessageError:
                break
            found.append(message.data)
            size -= len(message.data)
            seq = message.seq + 1
        return found
