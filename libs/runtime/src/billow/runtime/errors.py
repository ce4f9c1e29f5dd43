"""Errors that say what should happen to the message that caused them."""


class BillowError(Exception):
    """Base of all errors that we raise on purpose. The text is for the user: what happened, what to do next."""


class TransientError(BillowError):
    """Try again later; the input is fine.

    A handler that raises it gets its message back after `delay` seconds, as often as it takes.
    """

    def __init__(self, message: str, *, delay: float = 5.0) -> None:
        super().__init__(message)
        self.delay = delay


class PermanentError(BillowError):
    """Trying again cannot help. The message becomes a dead letter and the document fails with `code`."""

    def __init__(self, message: str, *, code: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        """Stable and machine-readable, e.g. `image_too_large`."""
        self.retryable = retryable
        """Whether submitting the same bytes again may succeed."""


class StackUnreachableError(BillowError):
    """The bus cannot be reached or started; the command exits with 3."""


class UsageError(BillowError):
    """The user asked for something that cannot be; the command exits with 2."""
