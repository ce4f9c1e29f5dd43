"""How a worker is doing, over the last minute."""

import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_WINDOW = 60.0
"""seconds"""
_LEARNING = 0.1
"""Weight of the newest batch in the moving average of what an item costs."""


class _Batch(NamedTuple):
    at: float
    requests: int
    items: int
    ms: float


class WorkerStatistics:
    """Counts batches; cheap enough for every one of them."""

    def __init__(self, max_batch: int, clock: Callable[[], float] = time.monotonic) -> None:
        """`max_batch`: items at which a batch is full."""
        self._max_batch = max_batch
        self._clock = clock
        self._started = clock()
        self._batches: deque[_Batch] = deque()
        self._ms_an_item: float | None = None
        self.requests = 0
        """Answered since the start."""
        self.items = 0
        """In those requests."""
        self.saved_s = 0.0
        """seconds of model time, see `saved`"""

    def count(self, requests: int, items: int, ms: float, run_ms: float) -> None:
        """A batch of so many requests with so many items took so long, `run_ms` of it inside the engine."""
        self.requests += requests
        self.items += items
        self._batches.append(_Batch(self._clock(), requests, items, ms))
        self._forget()
        cost = run_ms / max(items, 1)
        self._ms_an_item = (
            cost if self._ms_an_item is None else self._ms_an_item + _LEARNING * (cost - self._ms_an_item)
        )

    def save(self, items: int) -> float:
        """So many items need not be run: estimate the seconds that this saves, from what items cost lately."""
        seconds = items * (self._ms_an_item or 0.0) / 1000
        self.saved_s += seconds
        return seconds

    def requests_per_s(self) -> float:
        """Over the last minute, or since the start if that is shorter."""
        return self._rate(sum(batch.requests for batch in self._recent()))

    def items_per_s(self) -> float:
        """Over the last minute, or since the start if that is shorter."""
        return self._rate(sum(batch.items for batch in self._recent()))

    def percentile_ms(self, share: float) -> float:
        """Time of a batch that `share` (0..1) of the last minute's batches do not exceed; 0 if there were none."""
        times = sorted(batch.ms for batch in self._recent())
        return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0

    def batch_fill(self) -> float:
        """Mean of items over those of a full batch, 0..1; a batch may be larger by what its last request brings."""
        batches = self._recent()
        if not batches:
            return 0.0
        return sum(min(batch.items, self._max_batch) for batch in batches) / (len(batches) * self._max_batch)

    def _rate(self, count: int) -> float:
        return count / max(min(_WINDOW, self._clock() - self._started), 1.0)

    def _recent(self) -> deque[_Batch]:
        self._forget()
        return self._batches

    def _forget(self) -> None:
        oldest = self._clock() - _WINDOW
        while self._batches and self._batches[0].at < oldest:
            self._batches.popleft()


def resident_mb() -> float:
    """Resident memory of this process, MB; its peak where the system does not tell the present value."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
