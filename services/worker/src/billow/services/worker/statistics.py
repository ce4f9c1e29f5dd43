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


class _Batch(NamedTuple):
    at: float
    requests: int
    ms: float


class WorkerStatistics:
    """Counts batches; cheap enough for every one of them."""

    def __init__(self, max_batch: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_batch = max_batch
        self._clock = clock
        self._started = clock()
        self._batches: deque[_Batch] = deque()
        self.requests = 0
        """Answered since the start."""

    def count(self, requests: int, ms: float) -> None:
        """A batch of so many requests took so long."""
        self.requests += requests
        self._batches.append(_Batch(self._clock(), requests, ms))
        self._forget()

    def requests_per_s(self) -> float:
        """Over the last minute, or since the start if that is shorter."""
        self._forget()
        seconds = max(min(_WINDOW, self._clock() - self._started), 1.0)
        return sum(batch.requests for batch in self._batches) / seconds

    def percentile_ms(self, share: float) -> float:
        """Time of a batch that `share` (0..1) of the last minute's batches do not exceed; 0 if there were none."""
        self._forget()
        times = sorted(batch.ms for batch in self._batches)
        return times[min(int(share * len(times)), len(times) - 1)] if times else 0.0

    def batch_fill(self) -> float:
        """Mean of requests over the most a batch may take, 0..1."""
        self._forget()
        if not self._batches:
            return 0.0
        return sum(batch.requests for batch in self._batches) / (len(self._batches) * self._max_batch)

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
