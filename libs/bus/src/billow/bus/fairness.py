"""Who is next: lanes by priority, tenants by the time that they have used.

Start-time fair queueing (Goyal, Vin, Cheng: "Start-Time Fair Queueing", SIGCOMM 1996) with equal weights. Each tenant
has a virtual time, the sum of what its work cost, and the one with the least is next. Here the cost is known only
after the work is done, so an estimate is charged first and corrected later.
"""

import heapq
from collections import deque
from collections.abc import Collection, Iterator
from itertools import count
from typing import Generic, TypeVar

from billow.schemas.labels import Lane

T = TypeVar("T")

_BULK_TURN = 4
"""While both lanes wait, one turn in this many is of the bulk lane, so that interactive work cannot starve it."""
_LEARNING = 0.2
"""Weight of the newest cost in a moving average."""
_UNKNOWN_MS = 1.0
"""Estimate before anything was measured; only its being the same for all matters."""
_MOST_UNCHARGED = 10_000
"""Estimates remembered for one tenant whose work is never charged."""
_SPARE_TENANTS = 64
"""Idle tenants that may be remembered before they are looked through."""


def _learnt(mean: float | None, ms: float) -> float:
    return ms if mean is None else mean + _LEARNING * (ms - mean)


class _Line(Generic[T]):
    """What waits of one tenant in one lane."""

    __slots__ = ("entry", "items", "key", "mean", "served", "tenant", "uncharged", "virtual")

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.items: deque[T] = deque()
        self.virtual = 0.0
        """ms"""
        self.served = 0
        """Number of its last turn; of two with the same virtual time the one that waited longer is next."""
        self.entry = 0
        """Number of its valid entry in the lane's heap; 0 when nothing waits."""
        self.key = 0.0
        """Virtual time (ms) that this entry says; never more than the real one."""
        self.uncharged: deque[float] = deque(maxlen=_MOST_UNCHARGED)
        """Estimates (ms) of the work in hand, oldest first."""
        self.mean: float | None = None
        """ms, moving average of what its work cost"""


class _LaneQueue(Generic[T]):
    """The tenants of one lane, the one with the least virtual time first."""

    def __init__(self) -> None:
        self.lines: dict[str, _Line[T]] = {}
        self.size = 0
        self._heap: list[tuple[float, int, int, _Line[T]]] = []
        self._entries = count(1)
        self._turns = count(1)
        self._in_hand = 0
        self._clock = 0.0
        """Virtual time (ms) of the last turn."""
        self._mean: float | None = None

    def push(self, item: T, tenant: str) -> None:
        line = self.lines.get(tenant)
        if line is None:
            self._forget_idle()
            line = self.lines[tenant] = _Line(tenant)
        if not line.items:
            # It neither saves up turns while it is away nor pays for what others did then.
            line.virtual = max(line.virtual, self._now())
            line.items.append(item)
            self._enter(line)
        else:
            line.items.append(item)
        self.size += 1

    def pop(self) -> T | None:
        line = self._first()
        return None if line is None else self._take(line)

    def pop_of(self, tenants: Collection[str]) -> T | None:
        lines = [self.lines[tenant] for tenant in tenants]
        return self._take(min(lines, key=lambda line: (line.virtual, line.served))) if lines else None

    def waiting(self) -> list[str]:
        return [tenant for tenant, line in self.lines.items() if line.items] if self.size else []

    def holds(self, tenant: str) -> bool:
        """Whether work of the tenant is in hand, not charged yet."""
        line = self.lines.get(tenant)
        return line is not None and bool(line.uncharged)

    def charge(self, tenant: str, ms: float) -> bool:
        """Whether there was something to charge."""
        line = self.lines.get(tenant)
        if line is None or not line.uncharged:
            return False
        line.virtual += max(ms, 0.0) - line.uncharged.popleft()
        self._in_hand -= 1
        if ms > 0:
            self._mean = _learnt(self._mean, ms)
            line.mean = _learnt(line.mean, ms)
        if line.items:
            if line.virtual < line.key:
                self._enter(line)
        elif not self.size and not self._in_hand:
            # Nobody competed to the end: whoever comes next starts level with all.
            self._clock = max(self._clock, *(other.virtual for other in self.lines.values()))
        return True

    def shed(self) -> T:
        """Take the newest item of the tenant that has most waiting. There must be one."""
        line = max(self.lines.values(), key=lambda line: len(line.items))
        self.size -= 1
        item = line.items.pop()
        if not line.items:
            line.entry = 0
        return item

    def drain(self) -> Iterator[T]:
        for line in self.lines.values():
            yield from line.items
            line.items.clear()
            line.entry = 0
        self._heap.clear()
        self.size = 0

    def _take(self, line: _Line[T]) -> T:
        self._clock = max(self._clock, line.virtual)
        estimate = line.mean or self._mean or _UNKNOWN_MS
        line.virtual += estimate
        if len(line.uncharged) < _MOST_UNCHARGED:
            self._in_hand += 1
        line.uncharged.append(estimate)
        line.served = next(self._turns)
        item = line.items.popleft()
        self.size -= 1
        if not line.items:
            line.entry = 0
        return item

    def _enter(self, line: _Line[T]) -> None:
        line.entry, line.key = next(self._entries), line.virtual
        heapq.heappush(self._heap, (line.virtual, line.served, line.entry, line))

    def _first(self) -> _Line[T] | None:
        heap = self._heap
        while heap:
            virtual, served, entry, line = heap[0]
            if line.entry != entry:
                heapq.heappop(heap)
            elif len(heap) == 1 or (virtual == line.virtual and served == line.served):
                return line
            else:
                # It has had turns since; only now does it matter how many.
                line.key = line.virtual
                heapq.heapreplace(heap, (line.virtual, line.served, entry, line))
        return None

    def _now(self) -> float:
        first = self._first()
        return self._clock if first is None else first.virtual

    def _forget_idle(self) -> None:
        """An idle tenant that is not ahead of the others is no different from one that was never seen."""
        if len(self.lines) < _SPARE_TENANTS + 2 * (self.size + self._in_hand):
            return
        now = self._now()
        for line in list(self.lines.values()):
            if not line.items and not line.uncharged and line.virtual <= now:
                del self.lines[line.tenant]


class FairQueue(Generic[T]):
    """Turns between lanes and tenants; in memory, not safe between threads.

    Interactive work goes before bulk; while both wait, one turn in four is of the bulk lane. Within a lane the tenant
    is next that has used the least time while it competed with others; its own items leave in the order in which they
    came. A tenant that comes back after idling starts level with the present.
    """

    def __init__(self) -> None:
        self._interactive: _LaneQueue[T] = _LaneQueue()
        self._bulk: _LaneQueue[T] = _LaneQueue()
        self._passed_over = 0
        """Turns of interactive work since the last one of bulk, while bulk waited."""

    def __len__(self) -> int:
        return self._interactive.size + self._bulk.size

    def push(self, item: T, *, tenant: str, lane: Lane) -> None:
        """Add an item behind all others of its tenant and lane."""
        self._lane(lane).push(item, tenant)

    def pop(self) -> T | None:
        """The next item, None if there is none. Costs an estimate until `charge` tells the real price.

        What was taken counts as in hand until it is charged, so charge each item once, also one that came to nothing.
        """
        if not self._bulk.size:
            self._passed_over = 0
            return self._interactive.pop()
        if not self._interactive.size or self._passed_over >= _BULK_TURN - 1:
            self._passed_over = 0
            return self._bulk.pop()
        self._passed_over += 1
        return self._interactive.pop()

    def pop_newcomer(self) -> T | None:
        """As `pop`, but only of a tenant that has nothing in hand; interactive first."""
        for lane in (self._interactive, self._bulk):
            item = lane.pop_of([tenant for tenant in lane.waiting() if not self.in_hand(tenant)])
            if item is not None:
                return item
        return None

    def in_hand(self, tenant: str) -> bool:
        """Whether something of the tenant was taken and is not charged yet."""
        return self._interactive.holds(tenant) or self._bulk.holds(tenant)

    def charge(self, tenant: str, ms: float, *, lane: Lane | None = None) -> None:
        """An item that was taken did cost so much, in ms: corrects the estimate of the tenant's oldest one in hand.

        0 for one that was given back. Without `lane`, of the first lane with something of the tenant in hand. A tenant
        with nothing in hand is not charged.
        """
        if lane is not None:
            self._lane(lane).charge(tenant, ms)
        elif not self._interactive.charge(tenant, ms):
            self._bulk.charge(tenant, ms)

    def tenants(self) -> list[str]:
        """Those that have something waiting, in any lane."""
        return list(dict.fromkeys((*self._interactive.waiting(), *self._bulk.waiting())))

    def shed(self, count: int) -> list[T]:
        """Take out up to `count` items with the longest to wait: bulk first, the longest line first, its newest first.

        They are not charged.
        """
        shed: list[T] = []
        for lane in (self._bulk, self._interactive):
            shed += (lane.shed() for _ in range(min(count - len(shed), lane.size)))
        return shed

    def drain(self) -> list[T]:
        """Take out everything, each tenant's in the order in which it came; nothing is charged."""
        return [*self._interactive.drain(), *self._bulk.drain()]

    def _lane(self, lane: Lane) -> _LaneQueue[T]:
        return self._bulk if lane == "bulk" else self._interactive
