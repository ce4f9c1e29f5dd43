"""What the receipt service needs to forget documents, put together: erasures, and the retention that states them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from sqlalchemy.ext.asyncio import AsyncEngine

from billow.bus.connection import Bus
from billow.bus.erasure.watch import ErasureWatch
from billow.runtime.tasks import end_task
from billow.services.receipt.erasures import Erasures
from billow.services.receipt.retention import keep_sweeping
from billow.services.receipt.tombstones import Tombstones


@contextlib.asynccontextmanager
async def forgetting(bus: Bus, engine: AsyncEngine, *, again: float, sweep: float) -> AsyncGenerator[Erasures]:
    """Erasures in the database of `engine`, and a sweep every `sweep` seconds (0 for none) until the end of the block.

    Raises:
        TransientError: NATS does not answer.
    """
    tombstones = Tombstones(engine)
    async with ErasureWatch(bus, tombstones.names) as watch:
        sweeping = asyncio.create_task(keep_sweeping(bus, tombstones, every=sweep))
        try:
            yield Erasures(bus, tombstones, watch, again=again)
        finally:
            await end_task(sweeping)
