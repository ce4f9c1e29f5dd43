# pyright: reportUnknownMemberType=false
"""Which documents of a run lie in the stream, and which have their outcome."""

import contextlib

import nats.js.errors
import structlog
from nats.js import api

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.history import History, Stored
from billow.bus.replay.selection import key_of
from billow.bus.topology import LAYOUT_RUNS, OCR_RUNS, RECEIPT_FAILURES, RECEIPT_RUNS, RUNS, ConsumerSpec
from billow.runtime.errors import BillowError
from billow.schemas.replay import ReplaySpec

log = structlog.get_logger()

_FORGOTTEN_SECONDS = 6 * 3600.0
_WORKING = (OCR_RUNS, LAYOUT_RUNS, RECEIPT_RUNS, RECEIPT_FAILURES)


class OutcomeCount:
    """Counts the events of one kind by what a consumer would have to deliver: nothing is read for it.

    The same outcome stated twice counts twice, so `Outcomes` has the last word.
    """

    def __init__(self, bus: Bus, run_id: str, name: str) -> None:
        self._bus = bus
        self._subject = f"runs.*.{run_id}.{name}.*"
        self._consumer = ""

    async def now(self) -> int:
        """How many there are. Raises TransientError where NATS does not answer."""
        with translated(f"counting {self._subject}"):
            if self._consumer:
                try:
                    return (await self._bus.js.consumer_info(RUNS.name, self._consumer)).num_pending or 0
                except nats.js.errors.NotFoundError:
                    log.debug("the counting consumer is gone and made again", subject=self._subject)
            made = await self._bus.js.add_consumer(
                RUNS.name,
                api.ConsumerConfig(
                    ack_policy=api.AckPolicy.NONE,
                    filter_subject=self._subject,
                    headers_only=True,
                    inactive_threshold=_FORGOTTEN_SECONDS,
                    mem_storage=True,
                    num_replicas=1,
                ),
            )
            self._consumer = made.name
            return made.num_pending or 0

    async def close(self) -> None:
        """Take the consumer away; the server does so in time if this fails."""
        if self._consumer:
            with contextlib.suppress(BillowError), translated("ending a count"):
                await self._bus.js.delete_consumer(RUNS.name, self._consumer)


class Outcomes:
    """Which documents have an outcome, each once. Takes about 100 bytes a document."""

    def __init__(self, bus: Bus, run_id: str) -> None:
        self._bus = bus
        self._run_id = run_id
        self._next = {"completed": 1, "failed": 1}
        self.completed: set[str] = set()
        self.failed: set[str] = set()
        """Without those that completed after all."""

    def __len__(self) -> int:
        return len(self.completed) + len(self.failed)

    async def look(self) -> None:
        """Read what is new. Raises TransientError where NATS does not answer."""
        for name in self._next:
            subject = f"runs.*.{self._run_id}.{name}.*"
            async for batch in History(self._bus, RUNS.name).batches(subject, first=self._next[name]):
                self._take(name, batch)

    def _take(self, name: str, batch: list[Stored]) -> None:
        keys = {key_of(stored.subject) for stored in batch}
        if name == "completed":
            self.completed |= keys
            self.failed -= keys
        else:
            self.failed |= keys - self.completed
        self._next[name] = batch[-1].sequence + 1


async def inputs(bus: Bus, spec: ReplaySpec) -> set[str]:
    """The documents of which the run's event lies in the stream.

    Raises:
        TransientError: NATS does not answer.
    """
    subject = f"runs.{spec.tenant or '*'}.{spec.run_id}.{spec.start}.*"
    return {key_of(stored.subject) async for batch in History(bus, RUNS.name).batches(subject) for stored in batch}


async def is_idle(bus: Bus) -> bool:
    """Whether no service has anything of any run left to do, nor a dead letter to state.

    Raises:
        TransientError: NATS does not answer.
    """
    return all([await _is_done(bus, spec) for spec in _WORKING])


async def _is_done(bus: Bus, spec: ConsumerSpec) -> bool:
    with translated(f"looking how far {spec.durable} is"):
        try:
            info = await bus.js.consumer_info(spec.stream, spec.durable)
        except nats.js.errors.NotFoundError:
            # Its service never ran, so it has nothing in hand.
            return True
    return not info.num_pending and not info.num_ack_pending
