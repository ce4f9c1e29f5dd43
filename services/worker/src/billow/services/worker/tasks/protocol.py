"""What the worker's loop expects of a task."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from billow.schemas.inference import Output, Payload
from billow.schemas.record import Failure


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one payload: exactly one of `output` and `error` is set."""

    output: Output | None = None
    error: Failure | None = None
    run_ms: float = 0.0
    """Wall time inside `Engine.run()`, ms. Of a shared batch only this payload's share, by its number of items, so that
    the sum over the requests of a document never counts a moment twice."""


class TaskModel(Protocol):
    """An engine dressed for one task. All methods block and are called from one thread."""

    def warm_up(self) -> None:
        """Run once on every shape bucket, so that the first document pays nothing extra."""
        ...

    def run(self, payloads: Sequence[Payload]) -> list[Answer]:
        """Answer each payload, in order.

        Items of different payloads share batches. A payload that cannot be used gets an `error`; it never spoils
        its neighbours and never raises.
        """
        ...
