# pyright: reportUnknownMemberType=false
"""Sides of the bus measurement, each a process: `python -m benchmarks.bus_sides ours|fetching|listening URL`.

A line `{"durable", "messages", "concurrency"}` on standard input is one round: take so many messages from that
consumer, decode each, acknowledge each. The answer is a line `{"seconds", "cpu_seconds"}`, from the first message in
the handler's hands to the last one.
"""

import asyncio
import json
import sys
import time

import msgspec
import nats
from nats.aio.msg import Msg

from billow.bus.connection import Bus
from billow.bus.consume import Delivery, EventConsumer
from billow.bus.topology import DOCUMENTS, ConsumerSpec
from billow.runtime.logs import configure_logs
from billow.schemas.events import Submitted

FILTER = "documents.*.submitted.*"
FETCH_SECONDS = 5.0


class Order(msgspec.Struct, frozen=True):
    """One round."""

    durable: str
    messages: int
    concurrency: int
    """Messages asked for at once, and held at once."""


class Meter:
    """Counts to a number and remembers when it began."""

    def __init__(self, messages: int) -> None:
        self._left = messages
        self._started = 0.0
        self._cpu_started = 0.0
        self.seconds = 0.0
        """From the first count to the last one."""
        self.cpu_seconds = 0.0
        """The same, of processor time; hardly more when other programs want the processor too."""
        self.done = asyncio.Event()

    def count(self) -> None:
        """One message was handled."""
        if not self._started:
            self._started = time.perf_counter()
            self._cpu_started = time.process_time()
        self._left -= 1
        if self._left == 0:
            self.seconds = time.perf_counter() - self._started
            self.cpu_seconds = time.process_time() - self._cpu_started
            self.done.set()


def spec_of(order: Order) -> ConsumerSpec:
    """The consumer of a round, made before it begins."""
    return ConsumerSpec(
        stream=DOCUMENTS.name,
        durable=order.durable,
        service="bench",
        filters=(FILTER,),
        ack_wait=15,
        max_ack_pending=100_000,
    )


async def ours(url: str, order: Order) -> Meter:
    """Our consumer loop, as a service runs it."""
    meter = Meter(order.messages)

    async def handle(delivery: Delivery) -> None:
        delivery.event(Submitted)
        meter.count()

    async with await Bus.connect(url, name="bench") as bus:
        consumer = EventConsumer(bus, spec_of(order), handle, concurrency=order.concurrency)
        await consumer.start()
        await consumer.run(meter.done)
    return meter


async def fetching(url: str, order: Order) -> Meter:
    """The client alone, as its own documentation says: fetch, decode, acknowledge, one after the other."""
    meter = Meter(order.messages)
    decoder = msgspec.json.Decoder(Submitted)
    async with await nats.connect(url, pending_size=16 * 1024 * 1024) as client:
        subscription = await client.jetstream().pull_subscribe_bind(durable=order.durable, stream=DOCUMENTS.name)
        while not meter.done.is_set():
            for message in await subscription.fetch(order.concurrency, timeout=FETCH_SECONDS):
                decoder.decode(message.data)
                await message.ack()
                meter.count()
    return meter


async def listening(url: str, order: Order) -> Meter:
    """The client alone without its `fetch`, which starts a task for each message: pull requests by hand."""
    meter = Meter(order.messages)
    decoder = msgspec.json.Decoder(Submitted)
    request = json.dumps({"batch": order.concurrency, "expires": int(FETCH_SECONDS * 1e9)}).encode()
    async with await nats.connect(url, pending_size=16 * 1024 * 1024) as client:
        inbox = client.new_inbox()
        left = 0

        async def pull() -> None:
            nonlocal left
            left = order.concurrency
            await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{DOCUMENTS.name}.{order.durable}", request, reply=inbox)

        async def on_message(message: Msg) -> None:
            nonlocal left
            if message.headers is None or "Status" in message.headers:
                return
            decoder.decode(message.data)
            await message.ack()
            meter.count()
            left -= 1
            if left == 0:
                await pull()

        await client.subscribe(inbox, cb=on_message)
        await pull()
        await meter.done.wait()
    return meter


def main(side: str, url: str) -> int:
    """Serve rounds until standard input ends."""
    # As a service does: unasked, structlog writes to standard output, where the answers go.
    configure_logs("bench", level="warning")
    run = {"ours": ours, "fetching": fetching, "listening": listening}[side]
    for line in sys.stdin:
        meter = asyncio.run(run(url, msgspec.json.decode(line, type=Order)))
        print(json.dumps({"seconds": meter.seconds, "cpu_seconds": meter.cpu_seconds}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
