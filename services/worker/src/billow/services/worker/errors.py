"""What goes wrong with a worker beyond one request."""

from billow.runtime.errors import BillowError, PermanentError


class ModelHungError(BillowError):
    """The model did not come back in time. Its thread cannot be ended, so the process must be."""


class OtherModelError(PermanentError):
    """Another worker serves another model under the same name and version."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="model_differs")
