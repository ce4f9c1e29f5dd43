# pyright: reportUnknownMemberType=false
"""How fast our consumer loop is: decode, handle and acknowledge, beside the bare client and beside FastStream.

One nats-server, one stream of small `submitted` events with the headers that our publishers write. In each round every
side takes all of them from a fresh durable consumer, in a process of its own:

- billow: `EventConsumer`, the loop of every service, with a handler that decodes the event;
- nats-py: fetch, decode by msgspec, acknowledge, one message after the other; nothing keeps messages alive, retries,
  traces or logs;
- nats-py by hand: the same with pull requests of its own and a callback, since `fetch` starts a task for each message;
- FastStream: its pull subscriber, decoding by msgspec too, in an environment of its own made by `uv`.

All ask for `--concurrency` messages at once and hold as many. The sides take turns within each round, so that a busy
moment of the machine hits all alike; the ratios are those of the medians. `CPU us` is processor time a message. After
each round the server must say that everything was acknowledged. The bar for nats-py counts against the faster of both.

Exit code 1 if a bar is missed, 3 if a side could not run.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import msgspec
from nats.js.api import PubAck

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.bus_sides import Order, spec_of
from benchmarks.extraction import RunError
from benchmarks.report import Bar, bar_lines
from benchmarks.side_process import SCHEMAS, SideProcess, script_command
from benchmarks.tables import table
from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import ensure_consumer, ensure_stream
from billow.bus.topology import DOCUMENTS
from billow.runtime import trace
from billow.schemas import codec, subjects
from billow.schemas.events import ImageRef, Submitted, event_id
from billow.schemas.subjects import original_key

OURS, FASTSTREAM = "billow", "FastStream"
BARE = {"nats-py": "fetching", "nats-py by hand": "listening"}
_IN_FLIGHT = 2_000
_ACK_SECONDS = 10.0


class Answer(msgspec.Struct, frozen=True):
    """What a side says of a round."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What each side took for each round."""

    messages: int
    of: dict[str, list[Answer]]

    def each(self, side: str) -> list[float]:
        """Messages a second of every round."""
        return [self.messages / answer.seconds for answer in self.of[side]]

    def cpu_us(self, side: str) -> float:
        """Processor time of a message, us; the median round."""
        return median(answer.cpu_seconds for answer in self.of[side]) / self.messages * 1e6

    def ratio(self, *sides: str) -> float | None:
        """Ours over another side's, medians; over the fastest one's of several; None if none of them ran."""
        others = [median(self.each(side)) for side in sides if side in self.of]
        return median(self.each(OURS)) / max(others) if others else None


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bus_throughput",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--messages", type=int, default=10_000, metavar="N", help="of each round (default 10,000)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument("--concurrency", type=int, default=200, metavar="N", help="messages at once (default 200)")
    parser.add_argument("--no-peer", action="store_true", help="leave FastStream out")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    bars = parser.add_argument_group("bars; missing one gives exit code 1")
    bars.add_argument("--min-bare", type=float, metavar="X", help="at least X times the rate of nats-py alone")
    bars.add_argument("--min-faststream", type=float, metavar="X", help="at least X times the rate of FastStream")
    options = parser.parse_args(argv)
    if options.no_peer and options.min_faststream is not None:
        parser.error("--min-faststream needs FastStream, so leave --no-peer out")
    return options


async def publish_events(bus: Bus, count: int) -> None:
    """Put `count` events into the stream, a document each, as the client publishes them."""
    now = datetime.now(UTC)
    for start in range(0, count, _IN_FLIGHT):
        waiting: list[asyncio.Future[PubAck]] = []
        for number in range(start, min(start + _IN_FLIGHT, count)):
            name = f"doc-{number}"
            id_ = event_id("submitted", name, 1)
            image = ImageRef(key=original_key(name), sha256="0" * 64, size=123_456)
            event = Submitted(
                tenant="default", document_id=name, event_id=id_, occurred_at=now, image=image, source=f"{name}.jpg"
            )
            fields = {
                headers.CONTENT_TYPE: codec.JSON,
                trace.HEADER: trace.child(),
                headers.EXPECTED_STREAM: DOCUMENTS.name,
                headers.MSG_ID: id_,
            }
            subject = subjects.document("default", "submitted", name)
            waiting.append(await bus.js.publish_async(subject, codec.encode(event), headers=fields))
        await asyncio.gather(*waiting)


async def measure(sides: list[SideProcess], bus: Bus, options: argparse.Namespace) -> Rates:
    """All rounds; one more before them warms up and does not count. Raises RunError."""
    answers: dict[str, list[Answer]] = {side.name: [] for side in sides}
    for number in range(options.rounds + 1):
        for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
            durable = f"bench-{side.name.replace(' ', '-')}-{number}"
            order = Order(durable=durable, messages=options.messages, concurrency=options.concurrency)
            await ensure_consumer(bus, spec_of(order))
            answer = await side.ask(msgspec.to_builtins(order), Answer)
            await _check_acknowledged(bus, durable, side.name, options.messages)
            await bus.js.delete_consumer(DOCUMENTS.name, durable)
            if number:
                answers[side.name].append(answer)
    return Rates(messages=options.messages, of=answers)


async def _check_acknowledged(bus: Bus, durable: str, side: str, messages: int) -> None:
    until = asyncio.get_running_loop().time() + _ACK_SECONDS
    while True:
        info = await bus.js.consumer_info(DOCUMENTS.name, durable)
        acknowledged = info.ack_floor.consumer_seq if info.ack_floor is not None else 0
        if acknowledged == messages and not info.num_redelivered:
            return
        if asyncio.get_running_loop().time() > until:
            raise RunError(f"{side} acknowledged {acknowledged} of {messages}, {info.num_redelivered} came twice.")
        await asyncio.sleep(0.02)


async def run(options: argparse.Namespace) -> Rates:
    """Start the server and the sides, and measure. Raises RunError."""
    module = (sys.executable, "-m", "benchmarks.bus_sides")
    env = {"PYTHONPATH": str(SCHEMAS)}
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(tempfile.TemporaryDirectory(prefix="billow-bench-"))
        server = await stack.enter_async_context(await EmbeddedServer.start(store))
        bus = await stack.enter_async_context(await Bus.connect(server.url, name="bench"))
        await ensure_stream(bus, DOCUMENTS)
        await publish_events(bus, options.messages)
        ours_and_bare = {OURS: "ours", **BARE}
        sides = [SideProcess(name, [*module, side, server.url]) for name, side in ours_and_bare.items()]
        if not options.no_peer:
            sides.append(SideProcess(FASTSTREAM, [*script_command("faststream_peer.py"), server.url], env=env))
        for side in sides:
            await stack.enter_async_context(side)
        return await measure(sides, bus, options)


def rate_table(rates: Rates, *, markdown: bool = False) -> str:
    """A line a side; the ratio is ours over it."""
    rows: list[list[str]] = []
    for side in rates.of:
        each = rates.each(side)
        cells = (median(each), min(each), max(each), rates.cpu_us(side))
        rows.append([side, *(f"{cell:,.0f}" for cell in cells), "" if side == OURS else f"x {rates.ratio(side):.2f}"])
    return table(
        ["decode + handle + ack", "median /s", "worst", "best", "CPU us", "billow is"], rows, markdown=markdown
    )


def bars_of(options: argparse.Namespace, rates: Rates) -> list[Bar]:
    """What was asked for, beside what came out."""
    bars: list[Bar] = []
    if options.min_bare is not None:
        bars.append(Bar(name="rate over nats-py's", value=rates.ratio(*BARE), least=options.min_bare))
    if options.min_faststream is not None:
        bars.append(Bar(name="rate over FastStream's", value=rates.ratio(FASTSTREAM), least=options.min_faststream))
    return bars


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        rates = asyncio.run(run(options))
    except RunError as e:
        print(e, file=sys.stderr)
        return 3
    print(rate_table(rates, markdown=options.markdown))
    bars = bars_of(options, rates)
    if bars:
        print("\n" + "\n".join(bar_lines(bars)))
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
