# pyright: reportUnknownMemberType=false
"""The hub between two clusters on the same servers."""

import asyncio
import time

import nats.errors
import nats.js.errors

from billow.bus.connection import Bus


async def remove_streams(bus: Bus, timeout: float = 120) -> None:
    """Remove all streams and buckets.

    Raises:
        TimeoutError: the hub does not choose who leads it within `timeout` seconds.
    """
    until = time.monotonic() + timeout
    while True:
        try:
            for info in await bus.js.streams_info():
                await bus.js.delete_stream(str(info.config.name))
            return
        except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as e:
            if time.monotonic() > until:
                raise TimeoutError("the hub does not let its streams be removed") from e
            await asyncio.sleep(0.1)
