"""Whether a document may be handed in now: asked before anything of it is stored.

Whoever is told no has lost nothing; who is told yes may still be refused by a full stream. Documents that were accepted
are never asked again: a tenth of the stream, or more while many wait, is left to what is made of them.
"""

import asyncio
import time

import structlog

from billow.bus.backlog import Backlog
from billow.bus.clock import ServerClock
from billow.bus.connection import Bus
from billow.bus.rates import Rates
from billow.bus.settings import Limits
from billow.bus.tenants import UNLIMITED, policy
from billow.bus.topology import OCR
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.tenants import TenantPolicy

log = structlog.get_logger()

_UNKNOWN_SECONDS = 10.0
"""Without asking for a policy, after there was no answer: a user who may not ask gets none."""


class Admission:
    """Says yes or no for all tenants over one connection. Keep one a process; share it between tasks."""

    def __init__(self, bus: Bus, *, max_backlog: int | None = None) -> None:
        """`max_backlog`: documents that may wait for the OCR service; `BILLOW_MAX_BACKLOG` if not given.

        Raises:
            UsageError: a bad value in the environment.
        """
        self._bus = bus
        self._clock = ServerClock(bus, OCR)
        self._rates = Rates(bus, self._clock)
        self._backlog = Backlog(bus, max_backlog or Limits.from_environment().max_backlog)
        self._starting: asyncio.Task[None] | None = None
        self._unknown_until = 0.0

    async def admit(self, tenant: str) -> None:
        """One document of the tenant may be handed in now. Mostly without a round trip.

        What cannot be found out, as NATS does not answer or this user may not ask, refuses nobody.

        Raises:
            BusyError: the tenant's rate, the backlog or the fill of the stream; nothing was accepted. Try again after
                `delay` seconds.
            ValueError: `tenant` is not a token.
        """
        known = await self._policy(tenant)
        await self._backlog.check(tenant, known)
        if known.rate is not None:
            if self._starting is None:
                self._starting = asyncio.create_task(self._clock.start())
            await asyncio.shield(self._starting)
            await self._rates.take(tenant, known)

    async def close(self) -> None:
        """Look no more. Safe to call twice."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        self._clock.stop()
        await self._backlog.close()

    async def __aenter__(self) -> "Admission":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _policy(self, tenant: str) -> TenantPolicy:
        if time.monotonic() < self._unknown_until:
            return UNLIMITED
        try:
            return await policy(self._bus, tenant)
        except (TransientError, PermanentError) as e:
            self._unknown_until = time.monotonic() + _UNKNOWN_SECONDS
            log.warning("the limits of a tenant are not known, it is let in", tenant=tenant, reason=str(e))
            return UNLIMITED
