"""`python -m billow.services.receipt`: settings -> composition -> handlers."""

import sys

from billow.bus.connection import Bus
from billow.bus.consume import EventConsumer, run_consumers, with_runs
from billow.bus.lane import origin_lane
from billow.bus.provision import provision
from billow.bus.topology import (
    RECEIPT,
    RECEIPT_CANCELLATIONS,
    RECEIPT_ERASURES,
    RECEIPT_FAILURES,
    RECEIPT_PROMOTIONS,
    RECEIPT_RUNS,
)
from billow.runtime.garbage import look_for_garbage_rarely
from billow.runtime.process import Lifecycle, run_service
from billow.services.receipt.erasures import Erasures
from billow.services.receipt.forgetting import forgetting
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
            async with forgetting(
                bus, store.engine, again=settings.erasure_again, sweep=settings.retention_sweep
            ) as erasures:
                look_for_garbage_rarely()
                await run_consumers(_consumers(bus, handler, erasures, settings), lifecycle)
    finally:
        await store.close()


def _consumers(bus: Bus, handler: ReceiptHandler, erasures: Erasures, settings: ReceiptSettings) -> list[EventConsumer]:
    guarded = erasures.guarded
    return [
        *with_runs(
            bus,
            (RECEIPT, RECEIPT_RUNS),
            guarded(handler.on_analyzed),
            concurrency=(settings.receipt_concurrency, settings.receipt_run_concurrency),
            lookahead=settings.receipt_lookahead,
            lane_of=origin_lane,
        ),
        EventConsumer(bus, RECEIPT_PROMOTIONS, guarded(handler.on_promoted), concurrency=4),
        EventConsumer(bus, RECEIPT_CANCELLATIONS, guarded(handler.on_cancelled), concurrency=2),
        EventConsumer(bus, RECEIPT_FAILURES, guarded(handler.on_dead_letter), concurrency=2, buries=False),
        EventConsumer(bus, RECEIPT_ERASURES, erasures.on_erased, concurrency=2),
    ]


def main() -> int:
    """Run the service until it is told to stop; returns the exit code."""
    return run_service("receipt", ReceiptSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
