"""What can go wrong here and nowhere else."""

from billow.runtime.errors import PermanentError


def unexpected_answer(model: str, task: str) -> PermanentError:
    """A worker answered something that is no answer to the task."""
    return PermanentError(
        f"Model {model} gave no usable answer to a {task} request. Check its manifest's task, or use another model.",
        code="bad_answer",
    )
