"""Work that nobody waits for any more: it is answered before it costs model time."""

from typing import Literal

from billow.bus.cancellations import Cancellations
from billow.bus.clock import ServerClock
from billow.schemas.inference import InferenceWork
from billow.schemas.record import Failure

Reason = Literal["cancelled", "deadline_exceeded"]
"""Code of the answer."""

_MESSAGES: dict[Reason, str] = {
    "cancelled": "The document was cancelled before a model had time for it. Submit it again if it is wanted.",
    "deadline_exceeded": "The deadline of the document passed before a model had time for it. Submit it again with a "
    "later one.",
}


def why_unwanted(work: InferenceWork, cancellations: Cancellations, clock: ServerClock) -> Reason | None:
    """Why the work should be dropped, None if it is wanted.

    A deadline counts only by the server's clock: a machine whose own clock is wrong must not drop what others want.
    """
    if work.revision and cancellations.is_cancelled(work.tenant, work.document_id, work.revision, work.run_id):
        return "cancelled"
    if work.deadline is not None and clock.aligned and work.deadline <= clock.now():
        return "deadline_exceeded"
    return None


def refusal(reason: Reason) -> Failure:
    """What the caller is told."""
    return Failure(code=reason, message=_MESSAGES[reason], retryable=reason == "deadline_exceeded", stage="worker")
