"""`python -m billow.services.layout`: settings -> composition -> handlers."""

import sys

from billow.bus.connection import Bus
from billow.bus.consume import run_consumers, with_runs
from billow.bus.guard import guarding
from billow.bus.inference import InferenceClient
from billow.bus.lane import origin_lane
from billow.bus.provision import provision
from billow.bus.topology import LAYOUT, LAYOUT_RUNS
from billow.runtime.garbage import look_for_garbage_rarely
from billow.runtime.process import Lifecycle, run_service
from billow.schemas.events import Analyzed
from billow.services.layout.handlers import LayoutHandler
from billow.services.layout.settings import LayoutSettings


async def serve(settings: LayoutSettings, lifecycle: Lifecycle) -> None:
    """Connect, label documents until told to stop, drain."""
    async with await Bus.connect(
        settings.nats_url, name="layout", domain=settings.nats_domain or None, timeout=settings.connect_timeout
    ) as bus:
        await provision(bus, replicas=settings.replicas)
        inference = InferenceClient(bus, wait=settings.inference_wait, retry_delay=settings.inference_retry_delay)
        async with inference, guarding(bus, LAYOUT, Analyzed, inference) as guard:
            handler = LayoutHandler(bus, inference, guard, model=settings.layout_model)
            consumers = with_runs(
                bus,
                (LAYOUT, LAYOUT_RUNS),
                handler.on_recognized,
                concurrency=(settings.layout_concurrency, settings.layout_run_concurrency),
                lookahead=settings.layout_lookahead,
                lane_of=origin_lane,
            )
            look_for_garbage_rarely()
            await run_consumers(consumers, lifecycle)


def main() -> int:
    """Run the service until it is told to stop; returns the exit code."""
    return run_service("layout", LayoutSettings, serve)


if __name__ == "__main__":
    sys.exit(main())
