"""`python -m billow.services.worker MODEL`: settings -> composition -> handlers."""

import asyncio
import contextlib
import faulthandler
import os
import socket
import sys
from collections.abc import AsyncGenerator

import structlog

from billow.bus.connection import Bus
from billow.bus.namesakes import find_other_digest
from billow.bus.presence import Announcer
from billow.bus.work import WorkQueue
from billow.engines.manifest import Manifest
from billow.runtime.garbage import look_for_garbage_rarely
from billow.runtime.process import Lifecycle, run_service
from billow.services.worker.composition import find_model, items_at_once, load_model
from billow.services.worker.digest import digest_of
from billow.services.worker.errors import ModelHungError, OtherModelError
from billow.services.worker.handlers import ModelHost
from billow.services.worker.presence import SelfDescription
from billow.services.worker.settings import WorkerSettings
from billow.services.worker.statistics import WorkerStatistics

log = structlog.get_logger()

_LIFE_SIGN = 5.0
"""seconds between two signs that the event loop is alive"""
_LATE = 10.0
"""seconds that a sign may be late, beyond the limit of a run"""


async def serve(settings: WorkerSettings, lifecycle: Lifecycle) -> None:
    """Verify, load, warm up, pull, drain, leave."""
    manifest = find_model(settings.model)
    digest = await asyncio.to_thread(digest_of, manifest)
    model, engine = await asyncio.to_thread(load_model, manifest, settings)
    async with await Bus.connect(
        settings.nats_url,
        name=f"worker {manifest.token}",
        domain=settings.nats_domain or None,
        timeout=settings.connect_timeout,
    ) as bus:
        await _refuse_another(bus, manifest, digest)
        most = items_at_once(manifest)
        wait_ms = manifest.batching.max_wait_ms
        queue = WorkQueue(bus, task=manifest.task, model=manifest.token, max_batch=most, max_wait_ms=wait_ms)
        statistics = WorkerStatistics(most)
        myself = SelfDescription(manifest, engine, statistics, digest)
        host = ModelHost(
            queue,
            model,
            token=manifest.token,
            worker=myself.name,
            statistics=statistics,
            run_limit=settings.run_limit,
        )
        await host.warm_up()
        async with _announced(Announcer(bus, myself.now)), _watched(settings.run_limit):
            await queue.start()
            look_for_garbage_rarely()
            lifecycle.ready()
            log.info("model plugged in", model=manifest.token, task=manifest.task, device=engine.device)
            await host.run(lifecycle.stopping)
        log.info("model plugged out", model=manifest.token)
    engine.close()


@contextlib.asynccontextmanager
async def _announced(announcer: Announcer) -> AsyncGenerator[None]:
    await announcer.start()
    try:
        yield
    finally:
        await announcer.stop()


async def _refuse_another(bus: Bus, manifest: Manifest, digest: str) -> None:
    """Two models that answer to one name would answer the same question in two ways."""
    host = await find_other_digest(bus, manifest.token, digest)
    if host is not None:
        raise OtherModelError(
            f"A worker on {host} serves other weights or code as {manifest.name} {manifest.version} than those in "
            f"{manifest.folder} on {socket.gethostname()}. Give one of them another version, or stop that worker first."
        )


@contextlib.asynccontextmanager
async def _watched(limit: float) -> AsyncGenerator[None]:
    """End the process when the event loop itself is stuck, as when a model never lets go of the interpreter.

    The watch needs no Python to run. It writes where each thread is and exits with 1; the queue then notices the
    silence and gives the work to others. `limit`: seconds of a run; 0 for no watch.
    """
    if not limit:
        yield
        return
    signs = asyncio.create_task(_give_life_signs(limit))
    try:
        yield
    finally:
        signs.cancel()
        faulthandler.cancel_dump_traceback_later()


async def _give_life_signs(limit: float) -> None:
    while True:
        faulthandler.dump_traceback_later(limit + _LATE, exit=True)
        await asyncio.sleep(_LIFE_SIGN)


def main(model: str = "") -> int:
    """Run a worker until it is told to stop; returns the exit code. Ends the process itself where a model hangs."""
    hung = False

    async def serve_noting(settings: WorkerSettings, lifecycle: Lifecycle) -> None:
        nonlocal hung
        try:
            await serve(settings, lifecycle)
        except ModelHungError:
            hung = True
            raise

    code = run_service("worker", WorkerSettings, serve_noting, model=model)
    if hung:
        # A thread cannot be killed, and Python waits for all of them before it ends.
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
