"""The image store: originals and page images in standard NATS object stores, one bucket a tenant.

Any NATS client reads what is put here and may put what is read here. Ours is faster than the stock client: it does not
wait for an acknowledgement a chunk, and fetches all chunks with one request.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import api
from nats.nuid import NUID

from billow.bus import objects
from billow.bus.chunks import CHUNK_SIZE, Downloader, Uploader
from billow.bus.digests import LARGE, RunningDigest, sha256_of
from billow.bus.faults import BusyError, translated
from billow.bus.image_faults import check_readable, contended, damaged, missing
from billow.bus.objects import NoBucketError, NoMessageError, ObjectInfo, Stored
from billow.bus.pressure import pressure_of
from billow.bus.replies import Replies
from billow.bus.topology import DOCUMENTS, IMAGES_MAX_AGE
from billow.runtime.errors import PermanentError
from billow.runtime.tasks import end_tasks
from billow.schemas.subjects import images_bucket

MAX_KEY = 255
"""Characters in a key, at most."""
REUSE_SECONDS = 3600.0
"""The same bytes under the same key are not sent again for so long; later they are, so that their age starts anew."""
_ATTEMPTS = 20
"""Of reading or writing a key that others keep replacing."""
_PURGE_SECONDS = 2.0
_NEAR_SECONDS = 0.02
"""A server that answers within so long is waited for also where that is not needed."""
_WRONG_LAST_SEQUENCE = (10071, 10164)
"""The second one comes from a cluster where the message in the way is not yet agreed upon."""
_NAME_IN_USE = 10058

log = structlog.get_logger()


class ImageInfo(msgspec.Struct, frozen=True):
    """What is stored under a key."""

    key: str
    size: int
    """bytes"""
    sha256: str
    """hex"""


class ImageStore:
    """Images by tenant and key, over one connection. Safe to use from many tasks.

    All methods raise TransientError when the bus does not answer, and ValueError for a tenant that is not a token.
    """

    def __init__(
        self,
        client: Client,
        domain: str | None = None,
        *,
        max_age: float = IMAGES_MAX_AGE,
        replicas: int = 0,
        timeout: float = 10.0,
    ) -> None:
        """Nothing is sent yet.

        Args:
            client: Connected; it stays the caller's to close.
            domain: JetStream domain of the hub.
            max_age: seconds that images in a bucket created by us live; 0 is for ever.
            replicas: Copies of a bucket created by us; 0 makes as many as `DOCUMENTS` has.
            timeout: seconds without any sign of the bus until a call gives up.
        """
        prefix = f"$JS.{domain}.API" if domain else "$JS.API"
        self._client = client
        self._js = client.jetstream(prefix=prefix, timeout=timeout)  # pyright: ignore[reportUnknownMemberType]
        self._max_age = max_age
        self._replicas = replicas
        self._reader = objects.ObjectReader(client, prefix, timeout)
        replies = Replies(client)
        self._uploader = Uploader(client, replies, timeout)
        self._downloader = Downloader(client, replies, prefix, timeout)
        self._nuid = NUID()
        self._purging: set[asyncio.Task[None]] = set()
        self._far = False
        """Whether the last answer was long in coming."""

    async def ensure_bucket(self, tenant: str, max_age: float | None = None, replicas: int = 0) -> None:
        """Create the tenant's bucket, or make its age (seconds) and replicas what is asked. Idempotent.

        `replicas` 0 keeps what it has.

        Raises:
            TransientError: the bus does not answer.
            PermanentError: the server refuses, e.g. more replicas than it has peers.
        """
        bucket = images_bucket(tenant)
        max_age = self._max_age if max_age is None else max_age
        replicas = replicas or self._replicas
        with translated(f"creating bucket {bucket}"):
            if not await self._create_bucket(bucket, max_age, replicas):
                found = await self._js.stream_info(objects.stream_name(bucket))
                await self._js.update_stream(  # pyright: ignore[reportUnknownMemberType]
                    found.config,
                    max_age=max_age,
                    num_replicas=replicas or found.config.num_replicas,
                    allow_direct=True,
                    allow_rollup_hdrs=True,
                )

    async def put(self, tenant: str, key: str, data: bytes, *, media_type: str | None = None) -> ImageInfo:
        """Store `data` under `key`, in place of what was there; readers see the old or the new, never a mixture.

        Idempotent, and cheap where these bytes were stored under this key within the last hour. Creates the bucket if
        there is none.

        Raises:
            BusyError: the bucket is full; nothing was replaced.
            TransientError: the bus does not answer. Unless the answer alone was lost, nothing was replaced.
            PermanentError: `image_key_invalid`, or the server refuses.
        """
        images_bucket(tenant)  # a bad token is refused first
        if not 1 <= len(key) <= MAX_KEY:
            raise PermanentError(f"An image key has 1 to {MAX_KEY} characters.", code="image_key_invalid")
        # The digest takes longer than the upload; both run at once.
        hashing = asyncio.create_task(sha256_of(data))
        pressure, bucket = pressure_of(self._client), images_bucket(tenant)
        try:
            with translated(f"storing image {key!r}"):
                info = await self._put(tenant, key, data, media_type, hashing)
        except BusyError as e:
            e.delay = pressure.refused(bucket)
            raise
        finally:
            hashing.cancel()
        pressure.accepted(bucket)
        return info

    async def get(self, tenant: str, key: str, *, sha256: str | None = None, max_bytes: int | None = None) -> bytes:
        """The bytes under `key`, checked against their digest.

        Args:
            tenant: Whose bucket.
            key: Object name.
            sha256: hex digest that the bytes must have.
            max_bytes: Refuse what is larger, before any of it is fetched.

        Raises:
            TransientError: the bus does not answer.
            PermanentError: `image_missing`, `image_too_large` or `image_damaged`.
        """
        bucket = images_bucket(tenant)
        with translated(f"reading image {key!r}"):
            failed_nuid, failures = None, 0
            for attempt in range(_ATTEMPTS):
                info = await self._current(bucket, key, sha256, max_bytes, leader=attempt > 0)
                failures = failures + 1 if info.nuid == failed_nuid else 0
                if failures == 2:
                    raise damaged(key, "parts of it are missing")
                # First by any replica; what that lacks, the leader may have.
                data = await self._fetch(bucket, info, leader=failures == 1)
                if data is not None:
                    return data
                failed_nuid = info.nuid  # replaced under our hands, a replica behind, or damaged
        raise contended(key)

    async def delete(self, tenant: str, key: str) -> None:
        """Remove what is under `key`. If there is nothing, this is a no-op.

        Raises:
            TransientError: the bus does not answer; it may or may not be gone.
        """
        bucket = images_bucket(tenant)
        with translated(f"deleting image {key!r}"):
            for attempt in range(_ATTEMPTS):
                await asyncio.sleep(0.01 * attempt)
                stored = await self._stored(bucket, key, leader=True)
                if stored is None or (stored.info is not None and stored.info.deleted):
                    return
                nuid = stored.info.nuid if stored.info else self._nuid.next().decode()
                gone = ObjectInfo(name=key, bucket=bucket, nuid=nuid, size=0, chunks=0, digest="", deleted=True)
                if await self._describe(gone, stored):
                    await self._purge(bucket, nuid)
                    return
        raise contended(key)

    async def _put(
        self, tenant: str, key: str, data: bytes, media_type: str | None, hashing: asyncio.Task[bytes]
    ) -> ImageInfo:
        bucket, nuid = images_bucket(tenant), self._nuid.next().decode()
        chunk_size = min(CHUNK_SIZE, self._client.max_payload)
        asked = time.monotonic()
        # The leader at once: of what is mostly not there yet, a replica's no would have to be asked of it again.
        asking = asyncio.create_task(self._reader.describe(bucket, key, leader=True))
        asking.add_done_callback(lambda _: self._learn(time.monotonic() - asked))
        sending: asyncio.Task[int] | None = None
        try:
            # What is there already need not travel; but over a long way the answer is not waited for.
            await self._near({asking})
            if not asking.done():
                sending = self._send(bucket, nuid, data, chunk_size)
            before = await self._before(bucket, asking, sending)
            if _is_fresh(before, len(data)) and _has_digest(before, await hashing):
                if sending is not None:
                    await sending
                    await self._purge(bucket, nuid)
                return ImageInfo(key, len(data), (await hashing).hex())
            if sending is None or (sending.done() and sending.exception()):
                sending = self._send(bucket, nuid, data, chunk_size)
            chunks = await sending
        except BaseException:
            await end_tasks([asking, *filter(None, [sending])])
            await self._purge(bucket, nuid)
            raise
        digest = await hashing
        info = ObjectInfo(
            name=key,
            bucket=bucket,
            nuid=nuid,
            size=len(data),
            chunks=chunks,
            digest=objects.digest_text(digest),
            metadata={"sha256": digest.hex()} | ({"media_type": media_type} if media_type else {}),
            options=objects.ObjectOptions(max_chunk_size=chunk_size),
        )
        await self._replace(info, before)
        return ImageInfo(key, len(data), digest.hex())

    async def _before(
        self, bucket: str, asking: asyncio.Task[Stored], sending: asyncio.Task[int] | None
    ) -> Stored | None:
        """What describes the key now; makes the bucket where there is none, which no chunk can have found then."""
        try:
            return await asking
        except NoBucketError:
            if sending is not None:
                await asyncio.wait({sending})
            await self._create_bucket(bucket, self._max_age, self._replicas)
            return None
        except NoMessageError:
            return None

    def _send(self, bucket: str, nuid: str, data: bytes, chunk_size: int) -> asyncio.Task[int]:
        sending = asyncio.create_task(self._uploader.send(objects.chunks_subject(bucket, nuid), data, chunk_size))
        # Where the description fails too, nobody asks any more what the chunks came to.
        sending.add_done_callback(_see)
        return sending

    async def _replace(self, info: ObjectInfo, before: Stored | None) -> None:
        """Make `info` what its key means, and remove the chunks of exactly that which it replaces.

        Several may do so at once: each waits its turn by the sequence of what it replaces.
        """
        for attempt in range(_ATTEMPTS):
            try:
                if await self._describe(info, before):
                    break
            except nats.js.errors.APIError:
                # Refused. After any other error it may be stored all the same, and then needs its chunks.
                await self._purge(info.bucket, info.nuid)
                raise
            await asyncio.sleep(0.01 * attempt)  # the other's may still be under way
            before = await self._stored(info.bucket, info.name, leader=True)
        else:
            await self._purge(info.bucket, info.nuid)
            raise contended(info.name)
        if before is not None and before.info is not None and not before.info.deleted:
            purging = asyncio.create_task(self._purge(info.bucket, before.info.nuid))
            self._purging.add(purging)
            purging.add_done_callback(self._purging.discard)
            # The image is safe by now; over a long way the answer is not waited for either.
            await self._near({purging})

    async def _near(self, tasks: set[asyncio.Task[Any]]) -> None:
        """Wait for them as long as a server nearby may take."""
        await asyncio.wait(tasks, timeout=0 if self._far else _NEAR_SECONDS)

    def _learn(self, seconds: float) -> None:
        self._far = seconds > _NEAR_SECONDS

    async def _describe(self, info: ObjectInfo, before: Stored | None) -> bool:
        """Publish what describes an object; False if it is no longer `before` that this would replace."""
        try:
            await self._js.publish(
                objects.info_subject(info.bucket, info.name),
                msgspec.json.encode(info),
                headers={
                    api.Header.ROLLUP.value: "sub",
                    api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(before.seq if before else 0),
                },
            )
        except nats.js.errors.APIError as e:
            if e.err_code in _WRONG_LAST_SEQUENCE:
                return False
            raise
        return True

    async def _current(
        self, bucket: str, key: str, sha256: str | None, max_bytes: int | None, *, leader: bool
    ) -> ObjectInfo:
        """What describes a readable object. A replica may be behind, so only the leader's no is final."""
        try:
            stored = await self._stored(bucket, key, leader=leader)
            if stored is None or (stored.info is not None and stored.info.deleted):
                raise missing(key)
            if stored.info is None:
                raise damaged(key, "what describes it is not a description")
            check_readable(key, stored.info, sha256, max_bytes)
            return stored.info
        except PermanentError:
            if leader:
                raise
            return await self._current(bucket, key, sha256, max_bytes, leader=True)

    async def _stored(self, bucket: str, key: str, *, leader: bool = False) -> Stored | None:
        try:
            return await self._reader.describe(bucket, key, leader=leader)
        except NoMessageError:
            return None

    async def _fetch(self, bucket: str, info: ObjectInfo, *, leader: bool) -> bytes | None:
        """The checked bytes, or None if some of them are not there."""
        size = info.size or 0
        digest = RunningDigest()
        stream, subject = objects.stream_name(bucket), objects.chunks_subject(bucket, info.nuid)
        try:
            if leader:
                chunks = await self._reader.chunks(bucket, subject, size)
                for chunk in chunks:
                    digest.feed(chunk)
            else:
                chunks = await self._downloader.fetch(stream, subject, size, info.chunks or 1, digest)
        finally:
            digest.close()
        length = sum(map(len, chunks))
        if length < size:
            return None
        joining = asyncio.to_thread(b"".join, chunks) if length > LARGE else None
        actual = await digest.finish()
        data = await joining if joining is not None else b"".join(chunks)
        if length > size or actual != objects.digest_bytes(info.digest or ""):
            raise damaged(info.name, "its bytes do not have the digest that was stored with them")
        return data

    async def _create_bucket(self, bucket: str, max_age: float, replicas: int) -> bool:
        """False if there is one with another configuration."""
        try:
            config = objects.bucket_config(bucket, max_age=max_age, replicas=replicas or await self._copies())
            await self._js.add_stream(config)  # pyright: ignore[reportUnknownMemberType]
        except nats.js.errors.BadRequestError as e:
            if e.err_code != _NAME_IN_USE:
                raise
            return False
        return True

    async def _copies(self) -> int:
        """As many as of the events that name the images: a bucket with fewer would be lost before them."""
        try:
            return (await self._js.stream_info(DOCUMENTS.name)).config.num_replicas or 1
        except (nats.js.errors.NotFoundError, TimeoutError):
            return 1

    async def _purge(self, bucket: str, nuid: str) -> None:
        """Free the space of chunks that nothing refers to; if it fails, their age ends them."""
        subject = objects.chunks_subject(bucket, nuid)
        try:
            await asyncio.wait_for(self._js.purge_stream(objects.stream_name(bucket), subject=subject), _PURGE_SECONDS)
        except (TimeoutError, nats.errors.Error, nats.js.errors.Error) as e:
            log.warning("chunks left behind", subject=subject, reason=repr(e))


def _see(task: asyncio.Task[int]) -> None:
    """Look at what it raised, so that nobody reports it as never retrieved."""
    if not task.cancelled():
        task.exception()


def _is_fresh(stored: Stored | None, size: int) -> bool:
    if stored is None or stored.info is None or stored.info.deleted or stored.info.size != size:
        return False
    return (datetime.now(UTC) - stored.time).total_seconds() < REUSE_SECONDS


def _has_digest(stored: Stored | None, digest: bytes) -> bool:
    return stored is not None and stored.info is not None and objects.digest_bytes(stored.info.digest or "") == digest
