"""Who waits for which model, so that documents of an absent one cost next to nothing.

The server hands out what was given back before anything new. Documents that each time were worked on up to the absent
model, and then waited for it in a slot, would therefore keep all others from ever being looked at.
"""

import time
from collections.abc import Mapping
from typing import NamedTuple

from billow.schemas.events import Event
from billow.schemas.labels import Task

_SHORT = 0.25
"""seconds that a call waits for a model that is silent"""
_REMEMBERED = 10_000
_RETRIES_A_SECOND = 100
"""The more documents wait, the less often each asks."""

Document = tuple[str, str, int, str | None]


class Awaited(NamedTuple):
    """What a document was last known to wait for."""

    task: Task
    route: int
    """Version of the task's route that led there."""
    subjects: Mapping[str, str]
    """Queue -> subject of its answer; any of them will do."""


class Patience:
    """How long to wait for a model, by what it did lately. `queue` is a model and a lane."""

    def __init__(self, wait: float, retry_delay: float) -> None:
        """`wait`: seconds for a model that answers; `retry_delay`: seconds until a document asks again, at least."""
        self._wait = wait
        self._retry_delay = retry_delay
        self._silent_until: dict[str, float] = {}
        self._waiting: dict[Document, Awaited] = {}

    def is_silent(self, queue: str) -> bool:
        """Whether it did not answer lately."""
        return time.monotonic() < self._silent_until.get(queue, 0.0)

    def limit(self, queue: str) -> float:
        """Seconds that this call may wait. Of the calls to a silent model one now and then gets the whole time."""
        if self.is_silent(queue):
            return min(_SHORT, self._wait)
        if queue in self._silent_until:
            self._silence(queue, self._wait)
        return self._wait

    def gave_up(self, event: Event, awaited: Awaited, *, waited: float) -> float:
        """No answer after `waited` seconds; returns seconds until the document should ask again.

        Only a call that had the whole time says that the models are silent: else those that did not would make it so
        for ever.
        """
        if waited >= self._wait:
            for queue in awaited.subjects:
                self.late(queue)
        self._waiting.pop(_document(event), None)
        self._waiting[_document(event)] = awaited
        while len(self._waiting) > _REMEMBERED:
            self._waiting.pop(next(iter(self._waiting)))
        return max(self._retry_delay, len(self._waiting) / _RETRIES_A_SECOND)

    def late(self, queue: str) -> None:
        """It did not answer in the time that it had."""
        self._silence(queue, 2 * self._wait)

    def answered(self, queue: str, event: Event) -> None:
        """The model works, and the document goes on."""
        self._silent_until.pop(queue, None)
        self._waiting.pop(_document(event), None)

    def awaited(self, event: Event) -> Awaited | None:
        """What the document was last known to wait for."""
        return self._waiting.get(_document(event))

    def _silence(self, queue: str, seconds: float) -> None:
        self._silent_until[queue] = time.monotonic() + seconds


def _document(event: Event) -> Document:
    return (event.tenant, event.document_id, event.revision, event.run_id)
