"""How far more workers help: a model that only sleeps, served by 1, 2, 4, 8 and 16 worker processes.

The model takes `--run-ms` for a run of up to 8 crops of 20 kB and uses no processor, as one that runs on a GPU. The
workers are real, as is the nats-server, and the callers ask by `InferenceClient` from processes of their own; so what
ends the scaling is what everything around the model costs. One item is one crop; a request holds `--crops` of them, as
the lines of a document travel together. The crops are bitmaps, so that decoding pictures is not what is measured.

Every number of workers is measured twice a round, on the way up and on the way down. Columns: `of linear` is the rate
over that of one worker times their number; `of the model` the same over what the sleeping alone would allow; `CPU` is
of the whole machine, and `ours` what server, workers and callers took of it. The machine counts as busy from
`--busy` on; the bar holds for all numbers of workers before that point, which is named.

Exit code 1 if the bar is missed, 3 if a side could not run.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import psutil

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.extraction import RunError
from benchmarks.load import Load, Order
from benchmarks.processor import seconds_of, spent
from benchmarks.report import Bar, bar_lines
from benchmarks.side_process import SideProcess
from benchmarks.tables import table
from benchmarks.workers import Workers
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import provision
from billow.testkit.models import MAX_BATCH, OLD, write_pretend_models

OTHERS = 0.1
"""Of the machine: what other programs may take before it is worth a word."""
CROP = (48, 138)
"""px, height and width of a crop: 20 kB as a bitmap."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement with so many workers."""

    workers: int
    rate: float
    """items/s"""
    p50_ms: float
    """Of a request."""
    cpu: float
    """Of all cores of the machine, 0..1."""
    own_cpu: float
    """What our processes took of all cores, 0..1."""


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", default="1,2,4,8,16", metavar="N,N", help="numbers of workers, the first one is 1")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="ways up and down again (default 1)")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="of each measurement (default 4)")
    parser.add_argument("--run-ms", type=float, default=20.0, metavar="MS", help="of a run of the model (default 20)")
    parser.add_argument("--crops", type=int, default=MAX_BATCH, metavar="N", help="of a request, 1..64 (default 8)")
    parser.add_argument("--callers", type=int, default=8, metavar="N", help="requests at once for a worker (default 8)")
    parser.add_argument("--busy", type=float, default=0.9, metavar="X", help="CPU from which it is busy (default 0.9)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument(
        "--min-ratio", type=float, metavar="X", help="bar: at least X of linear before the machine is busy"
    )
    options = parser.parse_args(argv)
    try:
        options.workers = [int(part) for part in options.workers.split(",")]
    except ValueError:
        parser.error("--workers takes numbers, separated by commas")
    if options.workers != sorted(set(options.workers)) or options.workers[0] != 1:
        parser.error("--workers takes growing numbers and begins with 1, which the others are compared with")
    return options


def write_crop(path: Path) -> None:
    """A picture of noise."""
    pixels = np.random.default_rng(7).integers(0, 256, (*CROP, 3), np.uint8)
    if not cv2.imwrite(str(path), pixels):
        raise RunError(f"{path} cannot be written.")


class Processor:
    """Processor time over a while, of the machine and of the processes that we started."""

    def __init__(self) -> None:
        self._cores = os.cpu_count() or 1
        self._machine = psutil.cpu_times()
        self._own = seconds_of([os.getpid()])

    def shares(self, seconds: float) -> tuple[float, float]:
        """Of all cores, 0..1: machine, ours; `seconds` is the wall time since this was made."""
        machine, own = psutil.cpu_times(), seconds_of([os.getpid()])
        idle = machine.idle - self._machine.idle + getattr(machine, "iowait", 0) - getattr(self._machine, "iowait", 0)
        whole = self._cores * seconds
        return min(max(1 - idle / whole, 0.0), 1.0), min(spent(self._own, own) / whole, 1.0)


async def sample(workers: int, callers: list[SideProcess], options: argparse.Namespace) -> Sample:
    """Measure with as many workers as there are. Raises RunError."""
    each = max(options.callers * workers // len(callers), 1)
    order = Order(callers=each, warm_up=0.5, seconds=options.seconds, items=options.crops)
    asked = [asyncio.create_task(side.ask(dict(order), Load)) for side in callers]
    await asyncio.sleep(order["warm_up"])
    processor = Processor()
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(options.seconds)
    cpu, own = processor.shares(asyncio.get_running_loop().time() - began)
    loads = await asyncio.gather(*asked)
    for load in loads:
        if load["errors"]:
            raise RunError(f"A caller got no answer: {load['reason']}")
    latencies = [ms for load in loads for ms in load["latencies_ms"]]
    if not latencies:
        raise RunError("No request was answered in time; take more --seconds.")
    rate = sum(load["items"] for load in loads) / options.seconds
    return Sample(workers=workers, rate=rate, p50_ms=median(latencies), cpu=cpu, own_cpu=own)


async def run(options: argparse.Namespace) -> list[Sample]:
    """Start the server, the callers and the workers, and measure all. Raises RunError."""
    counts: list[int] = options.workers
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="billow-bench-")))
        write_pretend_models(folder / "models", detect_ms=0, recognise_ms=options.run_ms)
        write_crop(folder / "crop.bmp")
        server = await stack.enter_async_context(await EmbeddedServer.start(folder / "nats"))
        async with await Bus.connect(server.url, name="bench") as bus:
            await provision(bus)
        env = {"BILLOW_NATS_URL": server.url, "BILLOW_MODELS": str(folder / "models")}
        workers = await stack.enter_async_context(Workers(OLD, env))
        command = [sys.executable, "-m", "benchmarks.bus_callers", server.url, OLD, str(folder / "crop.bmp")]
        callers = [await stack.enter_async_context(SideProcess("the callers", command)) for _ in range(2)]
        samples: list[Sample] = []
        for _ in range(options.rounds):
            for count in (*counts, *reversed(counts)):
                await workers.scale(count)
                samples.append(await sample(count, callers, options))
                print(f"{count} workers: {samples[-1].rate:,.0f} items/s", file=sys.stderr)
        return samples


def summarise(samples: list[Sample]) -> list[Sample]:
    """The middle of the samples of each number of workers, in growing order."""
    by_count: dict[int, list[Sample]] = {}
    for one in samples:
        by_count.setdefault(one.workers, []).append(one)
    return [
        Sample(
            workers=count,
            rate=median(one.rate for one in each),
            p50_ms=median(one.p50_ms for one in each),
            cpu=median(one.cpu for one in each),
            own_cpu=median(one.own_cpu for one in each),
        )
        for count, each in sorted(by_count.items())
    ]


def of_linear(points: list[Sample], point: Sample) -> float:
    """Its rate over that of one worker times their number."""
    return point.rate / (points[0].rate * point.workers)


def before_busy(points: list[Sample], busy: float) -> list[Sample]:
    """The points before the first one at which the machine was busy."""
    kept: list[Sample] = []
    for point in points:
        if point.cpu >= busy:
            break
        kept.append(point)
    return kept


def scaling_table(points: list[Sample], options: argparse.Namespace) -> str:
    """A line for each number of workers."""
    model_rate = MAX_BATCH / (options.run_ms / 1000)
    rows = [
        [
            str(point.workers),
            f"{point.rate:,.0f}",
            f"{of_linear(points, point):.2f}",
            f"{point.rate / (model_rate * point.workers):.2f}",
            f"{point.p50_ms:.0f}",
            f"{100 * point.cpu:.0f} %",
            f"{100 * point.own_cpu:.0f} %",
        ]
        for point in points
    ]
    titles = ["workers", "items/s", "of linear", "of the model", "p50 ms", "CPU", "ours"]
    return table(titles, rows, markdown=options.markdown)


def busy_line(points: list[Sample], busy: float) -> str:
    """Where the machine is busy, in one line."""
    cores = os.cpu_count() or 1
    free = before_busy(points, busy)
    if len(free) == len(points):
        return f"{points[-1].workers} workers do not keep {cores} cores busy ({100 * points[-1].cpu:.0f} %)."
    point = points[len(free)]
    return f"{cores} cores are busy from {point.workers} workers on ({100 * point.cpu:.0f} %)."


def others_line(points: list[Sample]) -> str:
    """A warning where other programs spoiled the measurement, else empty."""
    others = max(point.cpu - point.own_cpu for point in points)
    if others < OTHERS:
        return ""
    return f"Other programs took up to {100 * others:.0f} % of the machine: measure again when it is idle."


def bar_of(points: list[Sample], options: argparse.Namespace) -> Bar:
    """The worst ratio before the machine is busy; none if it was busy with two workers already."""
    ratios = [of_linear(points, point) for point in before_busy(points, options.busy)[1:]]
    return Bar(
        name="of linear before the machine is busy", value=min(ratios) if ratios else None, least=options.min_ratio
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        points = summarise(asyncio.run(run(options)))
    except RunError as e:
        print(e, file=sys.stderr)
        return 3
    print(scaling_table(points, options))
    print(f"\n{busy_line(points, options.busy)}")
    if others := others_line(points):
        print(others)
    if options.min_ratio is None:
        return 0
    bar = bar_of(points, options)
    print("\n".join(bar_lines([bar])))
    return 0 if bar.met else 1


if __name__ == "__main__":
    sys.exit(main())
