"""`python -m billow.services.receipt`: settings -> composition -> handlers."""

import asyncio
import sys

from billow.bus.connection import Bus
from billow.bus.consume import EventConsumer
from billow.bus.lane import origin_lane
from billow.bus.provision import provision
from billow.bus.topology import RECEIPT, RECEIPT_CANCELLATIONS, RECEIPT_FAILURES
from billow.runtime.process import Lifecycle, run_service
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.settings import ReceiptSettings
from billow.services.receipt.store import Store


async def serve(settings: ReceiptSettings, lifecycle: Lifecycle) -> None:
    """Migrate the database, keep records until told to stop, drain."""
    store = Store.create(settings.database_url, wait=settings.database_wait)
    await store.migrate()
    try:
        async with await Bus.connect(
            settings.nats_url, name="receipt", domain=settings.nats_domain or None, timeout=settings.connect_timeout
        ) as bus:
            await provision(bus, replicas=settings.replicas)
            handler = ReceiptHandler(bus, store, min_confidence=settings.straight_through_confidence)
            consumers = [
                EventConsumer(
                    bus,
                    RECEIPT,
                    handler.on_analyzed,
                    service="receipt",
                    concurrency=settings.receipt_concurrency,
                    lookahead=settings.receipt_lookahead,
                    lane_of=origin_lane,
                ),
                EventConsumer(bus, RECEIPT_CANCELLATIONS, handler.on_cancelled, service="receipt", concurrency=2),
                EventConsumer(
                    bus, RECEIPT_FAILURES, handler.on_dead_letter, service="receipt", concurrency=2, buries=False
                ),
            ]
            for consumer in consumers:
                await consumer.start()
            lifecycle.ready()
            await asyncio.gather(*(consumer.run(lifecycle.stopping) for consumer in consumers))
    finally:
        await store.close()


def main() -> int:
    """Run the service until it is told to stop; returns the exit code."""
    return run_service("receipt", ReceiptSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
