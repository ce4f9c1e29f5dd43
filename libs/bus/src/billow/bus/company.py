"""Whether a request that is here should wait for others, so that they share a batch."""

_SHARE = 0.25
"""Weight of the newest gap in the moving average."""
_LONGEST = 4.0
"""A gap counts as so many times the wait at most, else one quiet hour would outweigh the busy second after it."""
_FADES = 0.95
"""What remains of the crowd with each arrival."""


class Company:
    """Learns from what came lately. An idle system waits for nobody, and a lone caller never waits for itself."""

    def __init__(self, wait: float) -> None:
        """`wait`: seconds that a batch may stay open."""
        self._wait = wait
        self._gap = _LONGEST * wait
        self._crowd = 1.0
        self._last = float("-inf")
        self._more: dict[str, int] = {}

    def came(self, lane: str, *, in_hand: int, pending: int, now: float) -> None:
        """A request came; `in_hand` counts it and all that are not answered yet, `pending` those still in the queue.

        `now`: seconds of any steady clock.
        """
        gap = min(now - self._last, _LONGEST * self._wait)
        self._gap += _SHARE * (gap - self._gap)
        self._last = now
        self._crowd = max(float(in_hand), self._crowd * _FADES)
        self._more[lane] = pending

    def did_not_come(self) -> None:
        """The wait was over first: what the queue said has gone to other workers."""
        self._more.clear()

    def is_coming(self, in_hand: int) -> bool:
        """Whether more is to be expected within the wait.

        It is when the queue has more; or when requests follow each other faster than that and lately more of them were
        on hand together than now. Of callers that send one request after the other, each missing one is about to.
        """
        if any(self._more.values()):
            return True
        return self._gap < self._wait and in_hand < self._crowd - 0.5
