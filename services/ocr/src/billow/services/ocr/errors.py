"""What can go wrong here and nowhere else."""

from datetime import datetime

from billow.runtime.errors import PermanentError


def unexpected_answer(model: str, task: str) -> PermanentError:
    """A worker answered something that is no answer to the task."""
    return PermanentError(
        f"Model {model} gave no usable answer to a {task} request. Check its manifest's task, or use another model.",
        code="bad_answer",
    )


def too_late(deadline: datetime) -> PermanentError:
    """Nobody waits for the document any more."""
    return PermanentError(
        f"The deadline {deadline.isoformat()} passed before the document was read. Submit it again with a later one.",
        code="deadline_exceeded",
        retryable=True,
    )
