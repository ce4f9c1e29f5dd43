"""One recogniser, 64 callers at once: our worker over the bus beside LitServe, BentoML and Ray Serve over HTTP.

Every side serves PP-OCRv6 small with the same runtime (`--engine`), in as many processes (`--processes`) with as many
threads each (`--threads`), dynamic batching on: at most 8 pictures, a short wait. Every caller sends one JPEG of a line
(drawn, the same ones for all), waits for its text, and sends the next. Decoding, scaling and reading off the text are
done by the server on every side; `recogniser.py` does it for the peers. The callers are one process: `InferenceClient`
for us, aiohttp for the others. All servers stay up; the sides take turns within each round.

Before the first round each side reads all pictures once; `same text` says how many came out as ours did. Rates are the
medians of the rounds, percentiles are over all requests. `CPU ms` is the processor time of an item, of the servers and
of the callers: where the machine is full, it decides.

Exit code 1 if a bar is missed, 3 if a side could not run.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.crops import write_crops
from benchmarks.extraction import RunError
from benchmarks.load import Load, Order
from benchmarks.peer_servers import IMPORT_PATH, PEERS, Peer, PeerServer, files, peers_of
from benchmarks.processor import seconds_of, spent
from benchmarks.recogniser import Settings
from benchmarks.report import Bar, bar_lines
from benchmarks.side_process import SideProcess, script_command
from benchmarks.tables import table
from benchmarks.workers import Workers
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import provision
from billow.engines.catalog import Catalog
from billow.engines.manifest import Manifest
from billow.engines.settings import model_cache, model_folders
from billow.engines.weights import verify
from billow.runtime.errors import BillowError
from billow.testkit.ports import free_port

MODEL = "ppocr-v6-rec-small"
OURS = "billow"
MAX_BATCH = 8
PICTURES = 64
LEAST_PEERS = 2
"""That must come up, of those that were asked for."""


class Texts(msgspec.Struct, frozen=True):
    """One text a picture."""

    texts: list[str]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A side that runs."""

    callers: SideProcess
    servers: Sequence[int]
    """Ids of its processes; what those started counts too."""

    async def load(self, order: Order) -> tuple[Load, float]:
        """What it answered, and the processor time of servers and callers in the seconds that count."""
        roots = [self.callers.pid, *self.servers]
        asked = asyncio.create_task(self.callers.ask(dict(order), Load))
        await asyncio.sleep(order["warm_up"])
        before = seconds_of(roots)
        await asyncio.sleep(order["seconds"])
        cpu = spent(before, seconds_of(roots))
        return await asked, cpu


@dataclass(frozen=True, kw_only=True)
class Side:
    """What came out of one side."""

    name: str
    texts: list[str]
    loads: list[Load]
    """One a round."""
    cpu: list[float]
    """Processor time of each, s; of servers and callers."""

    @property
    def rate(self) -> float:
        """items/s, the median round"""
        return median(load["items"] / load["seconds"] for load in self.loads)

    @property
    def cpu_ms(self) -> float:
        """Processor time of an item, servers and callers, ms; the median round"""
        return median(seconds / load["items"] * 1000 for seconds, load in zip(self.cpu, self.loads, strict=True))

    def percentile(self, share: float) -> float:
        """ms that this share (0..1) of all requests did not exceed"""
        times = sorted(ms for load in self.loads for ms in load["latencies_ms"])
        return times[min(int(share * len(times)), len(times) - 1)]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default=",".join(PEERS), metavar="A,B", help=f"default: {','.join(PEERS)}")
    parser.add_argument("--callers", type=int, default=64, metavar="N", help="at once (default 64)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="of a side in a round (default 8)")
    parser.add_argument("--warm-up", type=float, default=2.0, metavar="S", help="before that (default 2)")
    parser.add_argument("--engine", choices=("openvino", "onnxruntime"), default="openvino", help="default: openvino")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="that hold the model (default 1)")
    parser.add_argument("--threads", type=int, metavar="N", help="of each of them (default: the cores are shared out)")
    parser.add_argument("--wait-ms", type=float, default=2.0, metavar="MS", help="for a batch of the peers (default 2)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    bars = parser.add_argument_group("bars; missing one gives exit code 1")
    bars.add_argument("--min-ratio", type=float, metavar="X", help="items/s: at least X times the best peer's")
    bars.add_argument("--min-p99-ratio", type=float, metavar="X", help="the best peer's p99 is at least X times ours")
    options = parser.parse_args(argv)
    if options.threads is None:
        options.threads = max((os.cpu_count() or 1) // options.processes, 1)
    return options


def find_weights() -> tuple[Manifest, Path]:
    """Our recogniser and its weights. Raises RunError if they are not there."""
    try:
        manifest = Catalog(model_folders()).get(MODEL)
        weights = verify(manifest, model_cache())
    except BillowError as e:
        raise RunError(str(e)) from e
    if weights is None:
        raise RunError(f"{MODEL} has no weights.")
    return manifest, weights


async def start_ours(
    stack: contextlib.AsyncExitStack, options: argparse.Namespace, manifest: Manifest, pictures: Sequence[Path]
) -> Contender:
    """A server, a worker and callers. Raises RunError."""
    store = stack.enter_context(tempfile.TemporaryDirectory(prefix="billow-bench-"))
    server = await stack.enter_async_context(await EmbeddedServer.start(store))
    async with await Bus.connect(server.url, name="bench") as bus:
        await provision(bus)
    env = {
        "BILLOW_NATS_URL": server.url,
        "BILLOW_RUNTIME": options.engine,
        "BILLOW_THREADS": str(options.threads),
    }
    workers = await stack.enter_async_context(Workers(manifest.token, env))
    await workers.scale(options.processes)
    command = [sys.executable, "-m", "benchmarks.bus_callers", server.url, manifest.token, *files(pictures)]
    callers = await stack.enter_async_context(SideProcess(OURS, command))
    return Contender(callers=callers, servers=[server.pid, *workers.pids])


async def start_peer(
    stack: contextlib.AsyncExitStack,
    options: argparse.Namespace,
    weights: Path,
    pictures: Sequence[Path],
    peer: Peer,
) -> Contender:
    """A peer and its callers. Raises RunError."""
    settings = Settings(
        weights=str(weights),
        engine=options.engine,
        threads=options.threads,
        port=free_port(),
        max_batch=MAX_BATCH,
        max_wait_ms=options.wait_ms,
        processes=options.processes,
    )
    server = await stack.enter_async_context(PeerServer(peer, settings))
    command = [*script_command("http_callers.py"), server.url, peer.shape, *files(pictures)]
    callers = await stack.enter_async_context(SideProcess(peer.name, command, env=IMPORT_PATH))
    return Contender(callers=callers, servers=[server.pid])


async def measure(contenders: list[Contender], options: argparse.Namespace) -> list[Side]:
    """All sides in all rounds. Raises RunError."""
    sides = [
        Side(name=one.callers.name, texts=(await one.callers.ask({"check": True}, Texts)).texts, loads=[], cpu=[])
        for one in contenders
    ]
    order = Order(callers=options.callers, warm_up=options.warm_up, seconds=options.seconds, items=1)
    both = list(zip(contenders, sides, strict=True))
    for number in range(options.rounds):
        turn = number % len(both)
        for contender, side in both[turn:] + both[:turn]:
            load, cpu = await contender.load(order)
            if load["errors"] or not load["items"]:
                raise RunError(f"{side.name} did not answer a caller: {load['reason'] or 'too slow'}")
            side.loads.append(load)
            side.cpu.append(cpu)
            print(f"{side.name}: {load['items'] / load['seconds']:.1f} items/s", file=sys.stderr)
    return sides


async def run(options: argparse.Namespace) -> list[Side]:
    """Start all sides and measure; ours is the first. Raises RunError."""
    peers = peers_of(options.peers)
    manifest, weights = find_weights()
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="billow-bench-"))
        pictures = write_crops(Path(folder), PICTURES)
        sides = [await start_ours(stack, options, manifest, pictures)]
        for peer in peers:
            print(f"starting {peer.name}", file=sys.stderr)
            try:
                sides.append(await start_peer(stack, options, weights, pictures, peer))
            except RunError as e:
                print(f"{e}\n{peer.name} is left out.", file=sys.stderr)
        if len(sides) <= min(LEAST_PEERS, len(peers)):
            raise RunError(f"Only {len(sides) - 1} of {len(peers)} peers came up, too few to compare with.")
        return await measure(sides, options)


def serving_table(sides: Sequence[Side], *, markdown: bool = False) -> str:
    """A line a side; the ratios are ours over it."""
    ours = sides[0]
    rows: list[list[str]] = []
    for side in sides:
        same = sum(text == own for text, own in zip(side.texts, ours.texts, strict=True))
        row = [side.name, f"{side.rate:.1f}", f"{side.percentile(0.5):.0f}", f"{side.percentile(0.99):.0f}"]
        row += [f"{side.cpu_ms:.1f}", f"{same} of {len(ours.texts)}"]
        if side is ours:
            row += ["", ""]
        else:
            ratios = (ours.rate / side.rate, ours.percentile(0.99) / side.percentile(0.99))
            row += [f"x {ratio:.2f}" for ratio in ratios]
        rows.append(row)
    titles = ["", "items/s", "p50 ms", "p99 ms", "CPU ms", "same text", "our items/s", "our p99"]
    return table(titles, rows, markdown=markdown)


def bars_of(options: argparse.Namespace, sides: Sequence[Side]) -> list[Bar]:
    """What was asked for, beside what came out."""
    ours, *peers = sides
    bars: list[Bar] = []
    if options.min_ratio is not None:
        ratio = ours.rate / max(side.rate for side in peers)
        bars.append(Bar(name="items/s over the best peer's", value=ratio, least=options.min_ratio))
    if options.min_p99_ratio is not None:
        ratio = min(side.percentile(0.99) for side in peers) / ours.percentile(0.99)
        bars.append(Bar(name="the best peer's p99 over ours", value=ratio, least=options.min_p99_ratio))
    return bars


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        sides = asyncio.run(run(options))
    except RunError as e:
        print(e, file=sys.stderr)
        return 3
    shape = f"{options.processes} x {options.threads} threads"
    print(f"{MODEL} by {options.engine}, {shape}, {options.callers} callers\n")
    print(serving_table(sides, markdown=options.markdown))
    bars = bars_of(options, sides)
    if bars:
        print("\n" + "\n".join(bar_lines(bars)))
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
