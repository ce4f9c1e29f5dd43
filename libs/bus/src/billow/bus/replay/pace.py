"""Not faster than asked for."""

import asyncio
import time


class Pace:
    """A token bucket: `rate` documents/s on average, and no burst that anybody would feel."""

    _BURST_SECONDS = 0.05
    _PORTION_SECONDS, _LONGEST_PORTION_SECONDS = 0.02, 0.06
    _FEW = 8
    """Documents that are sent together meet again in each service. A few share every wake-up on their way, and cost
    half of what each costs alone; many delay whoever comes then."""

    def __init__(self, rate: float) -> None:
        """`rate` 0 never waits."""
        self._rate = rate
        self._next = time.monotonic()

    def portion(self, most: int) -> int:
        """How many to send at a time."""
        if not self._rate:
            return most
        few = min(self._FEW, int(self._rate * self._LONGEST_PORTION_SECONDS))
        return max(1, min(most, max(few, int(self._rate * self._PORTION_SECONDS))))

    async def take(self, count: int) -> None:
        """Wait until `count` may be sent. What was not used in time is not made up for, but for a burst."""
        if not self._rate:
            return
        now = time.monotonic()
        self._next = max(self._next, now - self._BURST_SECONDS)
        if self._next > now:
            await asyncio.sleep(self._next - now)
        self._next += count / self._rate
