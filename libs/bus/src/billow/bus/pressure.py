"""When to come back to a queue that is full, for publishers that cannot see who empties it."""

import random
import time
from weakref import WeakKeyDictionary

from nats.aio.client import Client

SHORTEST = 1.0
LONGEST = 60.0
"""seconds between which every retry time lies"""
_QUIET = 2 * LONGEST
"""seconds without a refusal after which the next one is the first of its kind"""
_SPREAD = 0.25
"""Part of the retry time that is left to chance, so that those who were refused together do not return together."""
_REMEMBERED = 10_000


def within_bounds(seconds: float) -> float:
    """As a retry time, in seconds."""
    return min(LONGEST, max(SHORTEST, seconds))


class Pressure:
    """Remembers how long each queue has been full; who is refused comes back after as long again.

    So the retry time doubles while nothing changes, however many are refused at once.
    """

    def __init__(self) -> None:
        self._full: dict[str, tuple[float, float]] = {}
        """Queue -> since when and until when it refused, monotonic seconds."""

    def refused(self, queue: str) -> float:
        """Seconds after which to try again."""
        now = time.monotonic()
        since, latest = self._full.pop(queue, (now, now))
        since = now if now - latest > _QUIET else since
        self._full[queue] = (since, now)
        while len(self._full) > _REMEMBERED:
            self._full.pop(next(iter(self._full)))
        return within_bounds((now - since) * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311

    def accepted(self, queue: str) -> None:
        """It has room again."""
        if self._full:
            self._full.pop(queue, None)


_pressures: WeakKeyDictionary[Client, Pressure] = WeakKeyDictionary()


def pressure_of(client: Client) -> Pressure:
    """What all publishers on this connection learned."""
    found = _pressures.get(client)
    if found is None:
        found = _pressures[client] = Pressure()
    return found
