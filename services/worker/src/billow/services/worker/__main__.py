"""`python -m billow.services.worker MODEL`: settings -> composition -> handlers."""

import asyncio
import sys

import structlog

from billow.bus.connection import Bus
from billow.bus.presence import Announcer
from billow.bus.work import WorkQueue
from billow.runtime.process import Lifecycle, run_service
from billow.services.worker.composition import REQUESTS_AT_ONCE, find_model, load_model
from billow.services.worker.handlers import ModelHost
from billow.services.worker.presence import SelfDescription
from billow.services.worker.settings import WorkerSettings
from billow.services.worker.statistics import WorkerStatistics

log = structlog.get_logger()


async def serve(settings: WorkerSettings, lifecycle: Lifecycle) -> None:
    """Verify, load, warm up, pull, drain, leave."""
    manifest = find_model(settings.model)
    model, engine = await asyncio.to_thread(load_model, manifest, settings)
    async with await Bus.connect(
        settings.nats_url,
        name=f"worker {manifest.token}",
        domain=settings.nats_domain or None,
        timeout=settings.connect_timeout,
    ) as bus:
        queue = WorkQueue(
            bus,
            task=manifest.task,
            model=manifest.token,
            max_batch=REQUESTS_AT_ONCE[manifest.task],
            max_wait_ms=manifest.batching.max_wait_ms,
        )
        statistics = WorkerStatistics(REQUESTS_AT_ONCE[manifest.task])
        myself = SelfDescription(manifest, engine, statistics)
        host = ModelHost(queue, model, token=manifest.token, worker=myself.name, statistics=statistics)
        await host.warm_up()
        announcer = Announcer(bus, myself.now)
        await announcer.start()
        try:
            await queue.start()
            lifecycle.ready()
            log.info("model plugged in", model=manifest.token, task=manifest.task, device=engine.device)
            await host.run(lifecycle.stopping)
        finally:
            await announcer.stop()
        log.info("model plugged out", model=manifest.token)
    engine.close()


def main(model: str = "") -> int:
    """Run a worker until it is told to stop; returns the exit code."""
    return run_service("worker", WorkerSettings, serve, model=model)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
