"""Applies each tenant's retention now and then by stating what is to be erased."""

import asyncio

import structlog

from billow.bus.connection import Bus
from billow.bus.erasure import state_erasure
from billow.bus.erasure.retention import expired, has_older
from billow.runtime.errors import BillowError
from billow.services.receipt.tombstones import Tombstones

log = structlog.get_logger()


async def sweep(bus: Bus, tombstones: Tombstones, *, step: float = 60.0) -> int:
    """State an erasure for each tenant that has anything beyond its retention; returns how many.

    Several replicas may do so at once: borders are rounded to `step` seconds, and the same border is the same event.

    Raises:
        TransientError: the database or the bus does not answer.
        PermanentError: a policy cannot be read.
    """
    stated = 0
    for event in await expired(bus, step=step):
        border = event.before
        if border is None:
            continue
        if await tombstones.has_older(event.tenant, border) or await has_older(bus, event.tenant, border):
            await state_erasure(bus, event)
            stated += 1
    await tombstones.forget_old()
    return stated


async def keep_sweeping(bus: Bus, tombstones: Tombstones, *, every: float) -> None:
    """Sweep every so many seconds, 0 never, until cancelled. What goes wrong is tried again the next time."""
    while every:
        try:
            await sweep(bus, tombstones, step=min(every, 60.0))
        except BillowError as e:
            log.warning("retention not applied, it is tried again", reason=str(e), delay=every)
        await asyncio.sleep(every)
