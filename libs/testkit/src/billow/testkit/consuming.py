# pyright: reportUnknownMemberType=false
"""A consumer that runs while a test looks at it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import nats.errors
import nats.js.errors

from billow.bus.connection import Bus
from billow.bus.consume import EventConsumer
from billow.bus.delivery import Delivery
from billow.bus.planning.apply import change_consumer
from billow.bus.topology import DEADLETTERS, OCR, ConsumerSpec


@contextlib.asynccontextmanager
async def consuming(
    bus: Bus,
    handler: Callable[[Delivery], Awaitable[None]],
    spec: ConsumerSpec = OCR,
    concurrency: int = 4,
    **options: Any,
) -> AsyncGenerator[asyncio.Event]:
    """Handle messages until the end of the block, or until the event that it gives is set."""
    await change_consumer(bus, spec)
    consumer = EventConsumer(bus, spec, handler, concurrency=concurrency, **options)
    await consumer.start()
    stopping = asyncio.Event()
    running = asyncio.create_task(consumer.run(stopping))
    try:
        yield stopping
    finally:
        stopping.set()
        await running


async def until(condition: Callable[[], Awaitable[bool]] | Callable[[], bool], timeout: float = 60) -> None:
    """Wait until it is so. Raises AssertionError after `timeout` seconds, which a busy machine may need."""
    end = time.monotonic() + timeout
    while True:
        result = condition()
        if await result if isinstance(result, Awaitable) else result:
            return
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.01)


async def settled(bus: Bus, spec: ConsumerSpec = OCR) -> bool:
    """Whether all messages of a consumer have an outcome; not known to have one while the server does not answer."""
    try:
        # A message that was stored just now may not be counted as pending yet.
        newest = max([await _newest(bus, spec.stream, subject) for subject in spec.filters])
        info = await bus.js.consumer_info(spec.stream, spec.durable)
    except nats.errors.TimeoutError:
        return False
    delivered = info.delivered.stream_seq if info.delivered else 0
    return info.num_pending == 0 and info.num_ack_pending == 0 and delivered >= newest


async def _newest(bus: Bus, stream: str, subject: str) -> int:
    """Sequence of the last message, 0 if there is none."""
    try:
        return (await bus.js.get_last_msg(stream, subject)).seq or 0
    except nats.js.errors.NotFoundError:
        return 0


async def dead_letters(bus: Bus) -> int:
    """How many there are."""
    return (await bus.js.stream_info(DEADLETTERS.name)).state.messages
