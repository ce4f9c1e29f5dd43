"""How fast a tenant may hand in documents, all of its clients together.

By the generic cell rate algorithm (ITU-T I.371): all that is known of a tenant is the moment at which it will have its
whole burst again. It lies in the bucket `ADMISSION` and is changed by whoever saw its last version. Clients take
several documents at once, so that few of them cost a round trip; what they do not use soon is lost.
"""

import asyncio
import contextlib
import math
import random
import time

import msgspec
import structlog

from billow.bus import buckets
from billow.bus.buckets import WrongRevisionError, open_bucket
from billow.bus.clock import ServerClock
from billow.bus.connection import Bus
from billow.bus.faults import BusyError
from billow.bus.pressure import within_bounds
from billow.bus.topology import ADMISSION
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.tenants import TenantPolicy

log = structlog.get_logger()

HOLD_SECONDS = 1.0
"""How long documents that were taken may be used."""
_ANSWER_SECONDS = 3.0
_UNKNOWN_SECONDS = 30.0
"""Without looking at the rate, after it could not be looked at."""
_RIVALS = 50
"""Attempts against others who take at the same moment."""
_PAUSE = 0.002


class Used(msgspec.Struct, frozen=True):
    """What the bucket says of a tenant."""

    full_at: float
    """seconds since 1970, by the server's clock: when it has its whole burst again"""


class Grant(msgspec.Struct, frozen=True):
    """What comes of asking for documents."""

    count: int
    full_at: float
    wait: float = 0.0
    """seconds until there is one, where there is none"""


def grant(full_at: float, now: float, rate: float, burst: int, wanted: int) -> Grant:
    """Up to `wanted` documents at `now`; pure."""
    owed = max(0.0, full_at - now) * rate
    free = math.floor(burst - owed + 1e-6)
    if free < 1:
        return Grant(0, full_at, (owed + 1 - burst) / rate)
    count = min(wanted, free)
    return Grant(count, max(full_at, now) + count / rate)


class _Share:
    """What this client has taken for one tenant."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.left = 0
        self.until = 0.0
        self.block = 1
        self.refused_until = 0.0
        self.revision = 0
        self.full_at = 0.0

    def use(self) -> bool:
        if self.left and time.monotonic() < self.until:
            self.left -= 1
            return True
        return False

    def next_block(self, rate: float, burst: int) -> int:
        """More at once while the last ones were all used in time; at most what the rate brings in that time."""
        used_up = not self.left and time.monotonic() < self.until
        most = max(1, min(burst // 2, math.ceil(rate * HOLD_SECONDS)))
        self.block = min(most, self.block * 2) if used_up else 1
        return self.block


class Rates:
    """Takes from what tenants may hand in. Keep one a process."""

    def __init__(self, bus: Bus, clock: ServerClock) -> None:
        self._bus = bus
        self._clock = clock
        self._shares: dict[str, _Share] = {}
        self._unknown_until = 0.0

    async def take(self, tenant: str, policy: TenantPolicy) -> None:
        """One document of the tenant may go on. Where the bucket does not answer, it may too: the streams have limits.

        Raises:
            BusyError: the tenant was faster than its rate.
        """
        if policy.rate is None or time.monotonic() < self._unknown_until:
            return
        share = self._shares.setdefault(tenant, _Share())
        if share.use():
            return
        async with share.lock:
            if share.use():
                return
            wait = share.refused_until - time.monotonic()
            if wait <= 0:
                wait = await self._try_refill(share, tenant, policy.rate, policy.burst_or_default())
        if wait > 0:
            raise BusyError(
                f"Tenant {tenant} may hand in {policy.rate:g} documents a second and has been faster; try again in "
                f"{within_bounds(wait):.0f} s. `billow tenants show {tenant}` says what it may.",
                delay=within_bounds(wait),
            )

    async def _try_refill(self, share: _Share, tenant: str, rate: float, burst: int) -> float:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._refill(share, tenant, rate, burst)
        except (TimeoutError, TransientError, PermanentError) as e:
            self._unknown_until = time.monotonic() + _UNKNOWN_SECONDS
            log.warning("the rate of tenants is not looked at for a while", tenant=tenant, reason=repr(e))
        # Perhaps it is not there; whoever may make it does.
        with contextlib.suppress(TimeoutError, TransientError, PermanentError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                await open_bucket(self._bus, ADMISSION)
                self._unknown_until = 0.0
        return 0.0

    async def _refill(self, share: _Share, tenant: str, rate: float, burst: int) -> float:
        """Take a block and use one of it; returns seconds to wait where there is none."""
        wanted = share.next_block(rate, burst)
        for attempt in range(_RIVALS):
            # First by what was true last; with one client that is true still.
            if attempt or not share.revision:
                await self._read(share, tenant)
            granted = grant(share.full_at, self._clock.now().timestamp(), rate, burst, wanted)
            if not granted.count:
                if not attempt and share.revision:
                    # Where the bucket began anew after a restart, what we remember is worth nothing.
                    share.revision = 0
                    continue
                # A change of the policy is to act soon.
                share.refused_until = time.monotonic() + min(granted.wait, HOLD_SECONDS)
                return granted.wait
            try:
                value = msgspec.json.encode(Used(granted.full_at))
                share.revision = await buckets.put(self._bus, ADMISSION.name, tenant, value, expected=share.revision)
            except WrongRevisionError:
                await asyncio.sleep(random.uniform(0, _PAUSE * (attempt + 1)))  # noqa: S311
                continue
            share.full_at = granted.full_at
            share.left, share.until = granted.count - 1, time.monotonic() + HOLD_SECONDS
            return 0.0
        return HOLD_SECONDS

    async def _read(self, share: _Share, tenant: str) -> None:
        entry = await buckets.last(self._bus, ADMISSION.name, tenant)
        share.revision, share.full_at = (entry.revision if entry else 0), 0.0
        if entry is not None and entry.value is not None:
            share.full_at = msgspec.json.decode(entry.value, type=Used).full_at
