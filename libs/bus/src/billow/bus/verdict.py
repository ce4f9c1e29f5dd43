"""What becomes of a message after its handler: acknowledged, waiting, given back, or a dead letter."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from datetime import datetime

import nats.errors
import structlog
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.deadletters import bury
from billow.bus.delivery import Delivery, Handler, place_of
from billow.bus.topology import MAX_DELIVERIES
from billow.bus.waits import Waits
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.record import Failure

log = structlog.get_logger()

_LONGEST_PAUSE = 60.0
_RETURN_AT_ONCE = 100
_RETURN_SECONDS = 5.0
_TRIALS_REMEMBERED = 100


class Verdicts:
    """Runs the handler on a message and tells the server what became of it."""

    def __init__(self, bus: Bus, handler: Handler, *, service: str, buries: bool) -> None:
        self._bus = bus
        self._handler = handler
        self._service = service
        self._buries = buries
        self._waits = Waits(bus)
        self._trial = asyncio.Lock()
        self._on_trial: Msg | None = None
        self._settled_trials: deque[tuple[str, int, datetime]] = deque(maxlen=_TRIALS_REMEMBERED)
        """Stream, sequence and time of those that have an outcome by their trial."""

    async def handle(self, message: Msg, delivery: Delivery) -> None:
        """Run the handler and see to the message, whatever happens; cancelled, it gives the message back."""
        try:
            if self._buries and delivery.deliveries >= MAX_DELIVERIES:
                await self._try(message, delivery)
            else:
                await self._attempt(message, delivery)
        except asyncio.CancelledError:
            # Out of time to finish, which is no fault of the message.
            with contextlib.suppress(TransientError):
                await self._excuse(message)
            await self._nak(message, 0)
            raise
        except TransientError as e:
            log.warning("dead letter not stored yet, the message stays", reason=str(e), delay=e.delay)
            with contextlib.suppress(TransientError):
                await self._excuse(message)
            await self._nak(message, e.delay)
        except Exception:
            # Not even the dead letter could be written: the message stays and comes again.
            log.exception("message kept for later")
            await self._nak(message, 5)

    async def give_back(self, messages: Sequence[Msg]) -> None:
        """Return what was not begun to the server, for others to have at once; it never counts as a failure.

        What cannot be excused within a few seconds, as the server does not answer, is returned all the same.
        """
        end = asyncio.get_running_loop().time() + _RETURN_SECONDS
        for start in range(0, len(messages), _RETURN_AT_ONCE):
            part = messages[start : start + _RETURN_AT_ONCE]
            if self._bus.client.is_connected:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(end):
                        await asyncio.gather(*(self._waits.excuse(message) for message in part), return_exceptions=True)
            for message in part:
                await self._nak(message, 0)

    async def _try(self, message: Msg, delivery: Delivery) -> None:
        failures = delivery.deliveries - 1 - await self._waits.excused(message)
        if failures < MAX_DELIVERIES - 1:
            await self._attempt(message, delivery)
            return
        meta = message.metadata
        place = (meta.stream, meta.sequence.stream, meta.timestamp)
        async with self._trial:
            if place in self._settled_trials:
                # It came again while it was tried, as the process stood still for longer than `ack_wait`.
                await message.ack()
                return
            # Before it is noted: a note that nobody acknowledged may be stored, and ends with the excuse.
            self._on_trial = message
            if await self._waits.begin_trial(message):
                if await self._attempt(message, delivery):
                    self._settled_trials.append(place)
            else:
                self._on_trial = None
                await self._bury(message, too_many_deliveries(failures, self._service), None)

    async def _excuse(self, message: Msg) -> None:
        if self._on_trial is message:
            await self._waits.end_trial(message)
        await self._waits.excuse(message)

    async def _attempt(self, message: Msg, delivery: Delivery) -> bool:
        """Whether it has an outcome now."""
        try:
            await self._handler(delivery)
        except TransientError as e:
            log.info("waiting", reason=str(e), delay=e.delay)
            await self._excuse(message)
            await self._nak(message, e.delay)
            return False
        except PermanentError as e:
            if not self._buries:
                raise
            failure = Failure(code=e.code, message=str(e), retryable=e.retryable, stage=self._service)
            await self._bury(message, failure, e)
        except OverflowError as e:
            # A number or a time that fits into no message or database; it will be no smaller the next time.
            if not self._buries:
                raise
            await self._bury(message, _out_of_range(e, self._service), e)
        except Exception:
            deliveries = delivery.deliveries
            pause = min(2.0 ** (deliveries - 1), _LONGEST_PAUSE)
            log.exception("handler failed, will try again", deliveries=deliveries, delay=pause)
            await self._nak(message, pause)
            return False
        else:
            await message.ack()
        return True

    async def _bury(self, message: Msg, failure: Failure, error: BaseException | None) -> None:
        place = place_of(message.subject)
        await bury(self._bus, message, failure, event=place.event, tenant=place.tenant, error=error)
        log.warning("dead letter", code=failure.code, reason=failure.message)
        await message.term()

    async def _nak(self, message: Msg, delay: float) -> None:
        try:
            await message.nak(delay=delay or None)
        except nats.errors.Error as e:
            log.debug("nak not sent, the message comes back after ack_wait", reason=repr(e))


def _out_of_range(error: OverflowError, stage: str) -> Failure:
    return Failure(
        code="value_out_of_range",
        message=f"A number or a time in the event is out of range: {error}. Publish it again with a smaller one.",
        stage=stage,
    )


def too_many_deliveries(failures: int, stage: str) -> Failure:
    """The failure of a message whose handling ended badly each time, perhaps with the process dying."""
    return Failure(
        code="too_many_deliveries",
        message=(
            f"Handling this ended in a crash or an error {failures} times. The message is kept among the dead "
            "letters; see the log of the service for the cause."
        ),
        retryable=True,
        stage=stage,
    )
