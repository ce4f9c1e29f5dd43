# pyright: reportUnknownMemberType=false
"""The time of the NATS server, for what two machines must agree on: deadlines, and how long something waited."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.topology import ConsumerSpec
from billow.runtime.errors import TransientError

log = structlog.get_logger()

ALIGN_SECONDS = 60.0
"""seconds between two looks at the server's clock; two oscillators part by some milliseconds meanwhile"""
_ANSWER_SECONDS = 2.0
_WORTH_TELLING = 5.0
"""seconds of difference at which the log names the machine's clock as wrong"""


class _Answer(msgspec.Struct):
    ts: datetime | None = None


def _local() -> datetime:
    return datetime.now(UTC)


class ServerClock:
    """Tells the server's time between looks at it, by this machine's steady clock.

    The machine's calendar clock, which may be wrong or be set meanwhile, counts only until the first look.
    """

    def __init__(self, bus: Bus, spec: ConsumerSpec, *, local: Callable[[], datetime] = _local) -> None:
        """The server's time stands in its answers about a consumer, so it takes the right to ask about `spec`."""
        self._bus = bus
        self._spec = spec
        self._local = local
        self._at_zero: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def aligned(self) -> bool:
        """Whether the server's time is known; else `now` is what this machine believes."""
        return self._at_zero is not None

    def now(self) -> datetime:
        """The present time, UTC."""
        if self._at_zero is None:
            return self._local()
        return self._at_zero + timedelta(seconds=time.monotonic())

    async def start(self) -> None:
        """Look once, and go on doing so until `stop`. Waits 2 s for an answer, then lives without one for now."""
        await self._try()
        self._task = asyncio.create_task(self._go_on())

    def stop(self) -> None:
        """Look no more. Safe to call twice."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def align(self) -> None:
        """Look at the server's clock now; half of the round trip is how wrong this may be.

        Raises:
            TransientError: no answer, or one without a time.
        """
        asked = time.monotonic()
        with translated("asking the server for its time"):
            message = await self._bus.client.request(
                f"{self._bus.api_prefix}.CONSUMER.INFO.{self._spec.stream}.{self._spec.durable}",
                timeout=_ANSWER_SECONDS,
            )
        middle = (asked + time.monotonic()) / 2
        try:
            moment = msgspec.json.decode(message.data, type=_Answer).ts
        except msgspec.DecodeError as e:
            raise TransientError(f"asking the server for its time: {e}") from e
        if moment is None:
            raise TransientError("asking the server for its time: its answer has none")
        if not self.aligned and abs((moment - self._local()).total_seconds()) > _WORTH_TELLING:
            log.warning(
                "this machine's clock differs from the server's, whose time is taken; set it by NTP",
                seconds=round((self._local() - moment).total_seconds(), 1),
            )
        self._at_zero = moment - timedelta(seconds=middle)

    async def _try(self) -> None:
        try:
            await self.align()
        except TransientError as e:
            log.debug("the server's time is not known", reason=str(e))

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(ALIGN_SECONDS)
            await self._try()
