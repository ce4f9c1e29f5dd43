# pyright: reportUnknownMemberType=false
"""Who serves which model now: workers announce themselves in `MODELS` and on the NATS micro subjects `$SRV.*`."""

import asyncio
import contextlib
from collections.abc import Callable

import nats.errors
import nats.js.errors
import structlog
from nats.js.kv import KeyValue
from nats.micro.service import Service, ServiceConfig

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.provision import ensure_models
from billow.bus.topology import LANES, MODELS_BUCKET, inference_consumer
from billow.runtime.errors import PermanentError, TransientError
from billow.runtime.tasks import end_task
from billow.schemas import codec
from billow.schemas.presence import ModelPresence

log = structlog.get_logger()

ANNOUNCE_SECONDS = 5.0
_LOOK_AGAIN = (0.02, 0.1, 0.3)
"""Pauses in seconds after a look that found nobody though the bucket holds something."""


class Announcer:
    """Says every few seconds that a worker is there, and says goodbye."""

    def __init__(self, bus: Bus, describe: Callable[[], ModelPresence]) -> None:
        """`describe` is asked for the present state each time."""
        self._bus = bus
        self._describe = describe
        self._task: asyncio.Task[None] | None = None
        self._service: Service | None = None
        self._unlisted = False

    async def start(self) -> None:
        """Announce now, go on doing so, and answer `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`.

        A worker that cannot be listed works all the same: behind a leaf it may have no right to make the bucket, and
        whoever makes it may come later.

        Raises:
            TransientError: the connection is gone.
        """
        presence = self._describe()
        self._service = Service(
            self._bus.client,
            ServiceConfig(
                name=presence.model,
                version=presence.version,
                description=f"{presence.task} by {presence.model}",
                metadata={
                    "task": presence.task,
                    "worker": presence.worker,
                    "device": presence.device,
                    "host": presence.host,
                    "digest": presence.digest,
                },
            ),
        )
        with translated("announcing the worker"):
            await self._service.start()
        try:
            await self._say(presence)
        except TransientError:
            await self._make_bucket_and_say(presence)
        self._task = asyncio.create_task(self._go_on())

    async def stop(self) -> None:
        """Take the announcement back. Safe to call twice, and without a connection."""
        if self._task is not None:
            await end_task(self._task)
            self._task = None
            try:
                await self._publish(self._describe(), b"", {"KV-Operation": "DEL"})
                if self._service is not None:
                    await self._service.stop()
            except (nats.errors.Error, TransientError) as e:
                log.debug("no goodbye, the announcement expires", reason=repr(e))

    async def _make_bucket_and_say(self, presence: ModelPresence) -> None:
        try:
            await ensure_models(self._bus)
            await self._say(presence)
        except (TransientError, PermanentError) as e:
            self._unlisted = True
            log.warning(
                f"this worker is not listed yet: the bucket {MODELS_BUCKET} does not take its announcement and cannot "
                "be made from here. It serves all the same. Start a Billow service at the hub, which makes the bucket, "
                "or let this user publish to it.",
                reason=str(e),
            )

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(ANNOUNCE_SECONDS)
            try:
                await self._say(self._describe())
            except TransientError as e:
                log.debug("not announced", reason=str(e))
                continue
            if self._unlisted:
                self._unlisted = False
                log.info("this worker is listed now")

    async def _say(self, presence: ModelPresence) -> None:
        await self._publish(presence, codec.encode(presence), {})

    async def _publish(self, presence: ModelPresence, data: bytes, headers: dict[str, str]) -> None:
        # Not the client's put: between domains the server refuses `$KV.>`, and takes it under the API's prefix.
        prefix = f"{self._bus.api_prefix}." if self._bus.domain else ""
        subject = f"{prefix}$KV.{MODELS_BUCKET}.{presence.model}.{presence.worker}"
        with translated("announcing the worker"):
            await self._bus.js.publish(subject, data, headers=headers or None)


async def present_workers(bus: Bus) -> list[ModelPresence]:
    """All workers that are there now, by model and worker.

    Raises:
        TransientError: NATS does not answer.
    """
    bucket = await ensure_models(bus)
    found: list[ModelPresence] = []
    with translated("reading who is there"):
        for key in await _keys(bucket):
            try:
                entry = await bucket.get(key)
                found.append(codec.decode(entry.value or b"", ModelPresence))
            except (nats.js.errors.NotFoundError, codec.CodecError) as e:
                # Gone between the two questions, or of a later version.
                log.debug("announcement not read", key=key, reason=repr(e))
    return sorted(found, key=lambda presence: (presence.model, presence.worker))


async def _keys(bucket: KeyValue) -> list[str]:
    """All keys, also where nats-py overlooks them.

    It takes a bucket for empty when the server has sent all entries, and none has arrived yet.
    """
    for pause in _LOOK_AGAIN:
        with contextlib.suppress(nats.js.errors.NoKeysError):
            return await bucket.keys()
        if not (await bucket.status()).values:
            break
        await asyncio.sleep(pause)
    return []


async def queue_depth(bus: Bus, task: str, model: str) -> int:
    """Requests that wait for a model or are in a worker's hands, over all lanes; 0 where nobody ever served it.

    Raises:
        TransientError: NATS does not answer.
    """
    depth = 0
    for lane in LANES:
        spec = inference_consumer(task, model, lane)
        with translated("reading the queue"):
            try:
                info = await bus.js.consumer_info(spec.stream, spec.durable)
            except nats.js.errors.NotFoundError:
                continue
        depth += (info.num_pending or 0) + (info.num_ack_pending or 0)
    return depth
