"""How a request leaves a worker's hands: answered, given back or buried; until then it is kept alive."""

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.deadletters import bury
from billow.bus.keepalive import KeepAlive
from billow.bus.publish import publish
from billow.bus.topology import RESULTS
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec, subjects
from billow.schemas.inference import InferenceResult, InferenceWork
from billow.schemas.record import Failure

log = structlog.get_logger()

_GIVE_BACK_SECONDS = 1.0
"""Until work that was given back is delivered again."""


class Settlement:
    """Deals with the queue and with `RESULTS` on behalf of one task's worker."""

    def __init__(self, bus: Bus, *, task: str, ack_wait: float) -> None:
        """`ack_wait`: seconds of silence after which the server takes a holder for dead."""
        self._bus = bus
        self._task = task
        self._alive = KeepAlive(ack_wait)

    def start(self) -> None:
        """Begin to keep alive what is held."""
        self._alive.start()

    def close(self) -> None:
        """End the heartbeats. Safe to call twice."""
        self._alive.stop()

    def hold(self, message: Msg) -> None:
        """Keep it alive until it is answered, given back, released or buried."""
        self._alive.hold(message)

    async def was_answered(self, work: InferenceWork) -> bool:
        """Whether its result is stored; False where NATS does not tell."""
        return await self._is_stored(self._result_subject(work))

    async def was_tried_alone(self, work: InferenceWork) -> bool:
        """Whether its last trial was begun; False where NATS does not tell."""
        return await self._is_stored(_trial_subject(work))

    async def note_trial(self, work: InferenceWork) -> None:
        """Say that this is the last attempt, where the next worker will look.

        Raises:
            TransientError: it could not be stored.
            PermanentError: the server refuses.
        """
        await self._publish(_trial_subject(work), b"")

    async def answer(self, message: Msg, work: InferenceWork, result: InferenceResult) -> None:
        """Publish the result, await that it is stored, then acknowledge the work.

        On failure the work goes back to the queue and is done again; the caller takes whichever answer is last. A
        result that cannot be published, as it is too large, is answered with the reason.
        """
        try:
            try:
                await self._publish_result(work, result)
            except PermanentError as e:
                failure = Failure(code=e.code, message=str(e), retryable=e.retryable, stage="worker")
                refused = InferenceResult(request_id=result.request_id, model=result.model, error=failure)
                await self._publish_result(work, refused)
            await self.release(message)
        except (TransientError, PermanentError) as e:
            log.warning("answer not stored, the work is given back", reason=str(e))
            await self.give_back(message)

    async def bury(self, message: Msg, failure: Failure, work: InferenceWork | None) -> None:
        """Copy it to the dead letters, tell its caller if it can be read, and end it; give it back where that fails."""
        tenant = message.subject.rpartition(".")[2]
        try:
            document_id = None if work is None else work.document_id
            await bury(
                self._bus, message, failure, event=self._task, tenant=tenant, error=None, document_id=document_id
            )
            if work is not None:
                result = InferenceResult(request_id=work.request_id, model=work.model, error=failure)
                await self._publish_result(work, result)
            await message.term()
            self._alive.release(message)
        except (TransientError, PermanentError, nats.errors.Error) as e:
            log.warning("dead letter not stored yet, the work stays", reason=str(e))
            await self.give_back(message)

    async def release(self, message: Msg) -> None:
        """It is done."""
        self._alive.release(message)
        try:
            await message.ack()
        except nats.errors.Error as e:
            log.debug("ack not sent, the work comes back once", reason=repr(e))

    async def give_back(self, message: Msg) -> None:
        """Let another worker, or a later try, have it."""
        self._alive.release(message)
        try:
            await message.nak(delay=_GIVE_BACK_SECONDS)
        except nats.errors.Error as e:
            log.debug("nak not sent, the work comes back after ack_wait", reason=repr(e))

    async def _publish_result(self, work: InferenceWork, result: InferenceResult) -> None:
        data = codec.encode(result, codec.MSGPACK)
        await self._publish(self._result_subject(work), data, bulk=work.lane == "bulk")

    async def _publish(self, subject: str, data: bytes, *, bulk: bool = False) -> None:
        extra = {headers.CONTENT_TYPE: codec.MSGPACK}
        await publish(self._bus, subject, data, message_id=None, stream=RESULTS.name, extra=extra, bulk=bulk)

    def _result_subject(self, work: InferenceWork) -> str:
        return subjects.result(work.tenant, self._task, work.request_id)

    async def _is_stored(self, subject: str) -> bool:
        try:
            await self._bus.js.get_last_msg(RESULTS.name, subject, direct=True)
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
            return False
        return True


def _trial_subject(work: InferenceWork) -> str:
    """Beside the results, as a workstation may publish nothing else; no task has this name."""
    return subjects.result(work.tenant, "trial", work.request_id)
