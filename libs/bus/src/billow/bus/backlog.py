# pyright: reportUnknownMemberType=false
"""How much waits, and how full the stream is: looked at in the background while documents are handed in."""

import asyncio
import secrets
import time

import msgspec
import structlog
from nats.js import api

from billow.bus.connection import Bus
from billow.bus.faults import BusyError, translated
from billow.bus.pressure import pressure_of, within_bounds
from billow.bus.topology import DOCUMENTS, OCR
from billow.runtime.errors import BillowError
from billow.runtime.tasks import end_task
from billow.schemas.tenants import TenantPolicy

log = structlog.get_logger()

LOOK_SECONDS = 1.0
"""Between two looks, at least."""
RESERVED_SHARE = 0.1
"""Part of the stream that new documents leave to those that were accepted: their events must find room."""
RESERVED_BYTES = 64 * 1024
"""What one accepted document still publishes, for which room is left."""
_STALE_SECONDS = 10.0
"""A look that is older says nothing; then only the stream itself refuses."""
_ANSWER_SECONDS = 2.0
_UNKNOWN_DELAY = 5.0
"""seconds until to try again, while it is not known how fast the backlog shrinks"""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen."""

    at: float
    """monotonic seconds"""
    waiting: int
    """Documents that the OCR service has not finished."""
    done: int
    """Documents that it took off the stream, ever."""
    room: float
    """Bytes that new documents may take; negative where there is none left for them."""
    tenants: dict[str, int] = {}
    """Of those who have a limit: documents that wait, at most."""


class Backlog:
    """Refuses new documents while too many wait. Keep one a process."""

    def __init__(self, bus: Bus, max_backlog: int) -> None:
        self._bus = bus
        self._max_backlog = max_backlog
        self._look: Look | None = None
        self._speed = 0.0
        """documents a second, lately"""
        self._asked: set[str] = set()
        self._looking: asyncio.Task[None] | None = None
        self._next = 0.0

    async def check(self, tenant: str, policy: TenantPolicy) -> None:
        """A document of the tenant may go on. Costs nothing but the first time, and the first for a tenant's limit.

        Raises:
            BusyError: too many documents wait, or the stream has room only for those.
        """
        unseen = policy.max_backlog is not None and tenant not in self._asked
        if policy.max_backlog is not None:
            self._asked.add(tenant)
        if (self._looking is None or self._looking.done()) and (unseen or time.monotonic() >= self._next):
            self._looking = asyncio.create_task(self._look_again())
        if self._looking is not None and (self._look is None or unseen):
            await asyncio.wait({self._looking}, timeout=_ANSWER_SECONDS)
        look = self._look
        if look is None or time.monotonic() - look.at > _STALE_SECONDS:
            return
        if look.room <= 0:
            delay = pressure_of(self._bus.client).refused(DOCUMENTS.name)
            raise BusyError(
                f"{DOCUMENTS.name} has room only for the documents that were accepted already; try again in "
                f"{delay:.0f} s, or let its administrator raise `max_bytes`.",
                delay=delay,
            )
        self._refuse_beyond(look.waiting, self._max_backlog, "documents wait for the OCR service")
        if policy.max_backlog is not None and tenant in look.tenants:
            what = f"documents of tenant {tenant} wait for the OCR service"
            self._refuse_beyond(look.tenants[tenant], policy.max_backlog, what)

    async def close(self) -> None:
        """Look no more. Safe to call twice."""
        await end_task(self._looking)

    def _refuse_beyond(self, waiting: int, limit: int, what: str) -> None:
        if waiting < limit:
            return
        delay = within_bounds((waiting - limit + 1) / self._speed) if self._speed > 0 else _UNKNOWN_DELAY
        raise BusyError(f"{waiting:,} {what}, {limit:,} may; try again in {delay:.0f} s.", delay=delay)

    async def _look_again(self) -> None:
        self._next = time.monotonic() + LOOK_SECONDS
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                look = await self._see()
        except (BillowError, TimeoutError) as e:
            log.debug("the backlog is not known", reason=repr(e))
            return
        before = self._look
        if before is not None and look.at > before.at:
            speed = max(0, look.done - before.done) / (look.at - before.at)
            self._speed = (self._speed + speed) / 2
        self._look = look

    async def _see(self) -> Look:
        with translated("looking at the backlog"):
            stream = await self._bus.js.stream_info(DOCUMENTS.name)
            consumer = await self._bus.js.consumer_info(OCR.stream, OCR.durable)
            held = consumer.num_ack_pending or 0
            waiting = (consumer.num_pending or 0) + held
            tenants = {tenant: await self._waiting_of(tenant, consumer, held) for tenant in self._asked}
        return Look(
            at=time.monotonic(),
            waiting=waiting,
            done=(consumer.delivered.consumer_seq if consumer.delivered else 0) - held,
            room=_room(stream, waiting),
            tenants=tenants,
        )

    async def _waiting_of(self, tenant: str, consumer: api.ConsumerInfo, held: int) -> int:
        """At most so many documents of one tenant wait: those not yet handed out, and those that may be in hand."""
        floor = consumer.ack_floor.stream_seq if consumer.ack_floor else 0
        handed_out = consumer.delivered.stream_seq if consumer.delivered else 0
        behind = await self._count(tenant, handed_out + 1)
        if not held:
            return behind
        return behind + min(held, await self._count(tenant, floor + 1) - behind)

    async def _count(self, tenant: str, start: int) -> int:
        """Submissions of a tenant from a sequence on: what a consumer that begins there would have before it."""
        name = f"admission-{secrets.token_hex(8)}"
        info = await self._bus.js.add_consumer(
            DOCUMENTS.name,
            api.ConsumerConfig(
                name=name,
                filter_subject=f"documents.{tenant}.submitted.*",
                deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=start,
                ack_policy=api.AckPolicy.NONE,
                inactive_threshold=1.0,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        await self._bus.js.delete_consumer(DOCUMENTS.name, name)
        return info.num_pending or 0


def _room(stream: api.StreamInfo, waiting: int) -> float:
    most, used = stream.config.max_bytes or -1, stream.state.bytes
    if most <= 0:
        return float("inf")
    return most - used - max(RESERVED_SHARE * most, waiting * RESERVED_BYTES)
