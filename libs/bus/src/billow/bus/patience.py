"""Who waits for which model, so that documents of an absent one cost next to nothing.

The server hands out what was given back before anything new. Documents that each time were worked on up to the absent
model, and then waited for it in a slot, would therefore keep all others from ever being looked at.
"""

import time

from billow.schemas.events import Event

_SHORT = 0.25
"""seconds that a call waits for a model that is silent"""
_REMEMBERED = 10_000
_RETRIES_A_SECOND = 100
"""The more documents wait, the less often each asks."""

Document = tuple[str, str, int, str | None]


class Patience:
    """How long to wait for a model, by what it did lately. `queue` is a model and a lane."""

    def __init__(self, wait: float, retry_delay: float) -> None:
        """`wait`: seconds for a model that answers; `retry_delay`: seconds until a document asks again, at least."""
        self._wait = wait
        self._retry_delay = retry_delay
        self._silent_until: dict[str, float] = {}
        self._waiting: dict[Document, tuple[str, str]] = {}

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

    def gave_up(self, queue: str, event: Event, subject: str, *, waited: float) -> float:
        """No answer on `subject` after `waited` seconds; returns seconds until the document should ask again.

        Only a call that had the whole time says that the model is silent: else those that did not would make it so
        for ever.
        """
        if waited >= self._wait:
            self._silence(queue, 2 * self._wait)
        self._waiting.pop(_document(event), None)
        self._waiting[_document(event)] = (queue, subject)
        while len(self._waiting) > _REMEMBERED:
            self._waiting.pop(next(iter(self._waiting)))
        return max(self._retry_delay, len(self._waiting) / _RETRIES_A_SECOND)

    def answered(self, queue: str, event: Event) -> None:
        """The model works, and the document goes on."""
        self._silent_until.pop(queue, None)
        self._waiting.pop(_document(event), None)

    def awaited(self, event: Event) -> tuple[str, str] | None:
        """Queue and subject of the answer that the document was last known to wait for."""
        return self._waiting.get(_document(event))

    def _silence(self, queue: str, seconds: float) -> None:
        self._silent_until[queue] = time.monotonic() + seconds


def _document(event: Event) -> Document:
    return (event.tenant, event.document_id, event.revision, event.run_id)
