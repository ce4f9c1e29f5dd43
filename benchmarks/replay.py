"""How fast history is replayed, and what a replay does to whoever waits for a single document meanwhile.

Puts documents of six lines into a history, starts the real stack with models that do next to nothing, and prints

- unthrottled: documents/s of `billow replay --from recognized`, from the first event sent to the last outcome, and the
  processor time that a document costs in each process;
- at a share of that rate (`--share`): the latency of single documents, from submitting to the record, one after the
  other through the whole path, in turns without and with a replay beside them. Detector and recogniser sleep.

The report of the first replay is checked: the label that the new model does not give must have vanished everywhere.
Exit code 1 if a bar is missed, 3 if it could not run.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import msgspec
import numpy as np
import psutil

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.report import Bar, bar_lines
from benchmarks.tables import table
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import provision
from billow.bus.replay.book import ReplayBook, Run
from billow.bus.replay.control import new_run_id
from billow.bus.replay.driver import ReplayDriver
from billow.bus.replay.progress import OutcomeCount
from billow.bus.replay.reporting import make_report
from billow.bus.replay.sending import EXPECTED_LAST, Outgoing, send
from billow.bus.topology import DOCUMENTS, LAYOUT
from billow.cli.stack.stack import Stack
from billow.client import Billow
from billow.runtime.errors import BillowError
from billow.schemas import codec, subjects
from billow.schemas.events import EVENT_NAMES, Completed, Recognized
from billow.schemas.replay import ReplayReport, ReplaySpec
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.events import make_completed, make_recognized
from billow.testkit.models import DETECTOR, OLD, TAGGER, write_pretend_models, write_pretend_tagger

TENANT = "archive"
LABELS = {"0": "store_name", "1.0": "date", "5.1": "total"}
"""What the fake layout model gives; the history has a tax too."""
_PORTION = 500


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Of an unthrottled replay."""

    documents: int
    documents_per_s: float
    cpu_ms: dict[str, float]
    """Process -> ms of processor time a document."""
    report: ReplayReport


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Of single documents, in ms; each list in the order of the rounds."""

    rate: float
    """documents/s of the replay beside them"""
    alone: list[float]
    beside: list[float]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=10_000, metavar="N", help="in the history (default 10,000)")
    parser.add_argument("--in-flight", type=int, default=1_000, metavar="N", help="on their way (default 1,000)")
    parser.add_argument("--share", type=float, default=0.2, metavar="X", help="of the measured rate (default 0.2)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns without and with (default 3)")
    parser.add_argument("--singles", type=int, default=40, metavar="N", help="single documents a turn (default 40)")
    parser.add_argument("--detect-ms", type=float, default=60.0, metavar="MS", help="of a detection (default 60)")
    parser.add_argument("--recognise-ms", type=float, default=15.0, metavar="MS", help="of a batch (default 15)")
    parser.add_argument("--min-rate", type=float, default=500.0, metavar="X", help="bar, documents/s (default 500)")
    parser.add_argument("--max-growth", type=float, default=0.2, metavar="X", help="bar for the p95 (default 0.2)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    return parser.parse_args(argv)


async def fill(folder: Path, count: int) -> None:
    """A history as the services would have left it: recognized, completed, and nothing to do."""

    async def nothing(_: object) -> None:
        return

    async with (
        await EmbeddedServer.start(folder / "nats", log_file=folder / "fill.log") as server,
        await Bus.connect(server.url, name="fill") as bus,
    ):
        await provision(bus)
        for start in range(0, count, _PORTION):
            names = [f"doc-{number}" for number in range(start, min(start + _PORTION, count))]
            makers: tuple[Callable[..., Recognized | Completed], ...] = (make_recognized, make_completed)
            await send(bus, [_historic(make(name, tenant=TENANT)) for name in names for make in makers])
        async with consuming(bus, nothing, LAYOUT, concurrency=64):
            await until(lambda: settled(bus, LAYOUT), timeout=120)


def _historic(event: Recognized | Completed) -> Outgoing:
    subject = subjects.document(event.tenant, EVENT_NAMES[type(event)], event.document_id)
    fields = {"Content-Type": codec.JSON, "Nats-Msg-Id": event.event_id, EXPECTED_LAST: "0"}
    return Outgoing(subject, codec.encode(event), {**fields, "Nats-Expected-Stream": DOCUMENTS.name})


async def measure_speed(options: argparse.Namespace, stack: Stack, bus: Bus) -> Speed:
    """Replay everything as fast as it goes."""
    run = await _begin(bus, options, rate=0.0)
    processes = {name: process.pid for name, process in stack.processes.items()}
    processes |= {"nats-server": stack.server.pid if stack.server else None, "driver": os.getpid()}
    before = {name: _cpu(pid) for name, pid in processes.items()}
    state = await ReplayDriver(bus, run, driver="bench").drive()
    spent = {name: _cpu(pid) - before[name] for name, pid in processes.items()}
    report = await make_report(bus, await ReplayBook(bus).get(run.spec.run_id))
    answered = max(1, state.completed)
    return Speed(
        documents=state.completed,
        documents_per_s=answered / state.active_s if state.active_s else 0.0,
        cpu_ms={name: 1000 * seconds / answered for name, seconds in spent.items()},
        report=report,
    )


async def measure_latency(options: argparse.Namespace, bus: Bus, url: str, rate: float) -> Latency:
    """Single documents, in turns without and with a replay beside them."""
    alone: list[float] = []
    beside: list[float] = []
    async with Billow(url) as billow:
        await _singles(billow, 5, "warm")
        for turn in range(options.rounds):
            alone += await _singles(billow, options.singles, f"alone-{turn}")
            async with _replaying(bus, url, rate):
                beside += await _singles(billow, options.singles, f"beside-{turn}")
    return Latency(rate=rate, alone=alone, beside=beside)


@contextlib.asynccontextmanager
async def _replaying(bus: Bus, url: str, rate: float) -> AsyncGenerator[None]:
    """The real command, in a process of its own, from its first outcome on."""
    run_id = new_run_id()
    request = ["--from", "recognized", "--tenant", TENANT, "--rate", f"{rate:.1f}/s", "--run-id", run_id]
    command = [sys.executable, "-m", "billow.cli", "replay", *request]
    quiet, environ = asyncio.subprocess.DEVNULL, {**os.environ, "BILLOW_NATS_URL": url}
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet, env=environ)
    try:
        async with asyncio.timeout(60):
            while not await OutcomeCount(bus, run_id, "completed").now():
                await asyncio.sleep(0.1)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _begin(bus: Bus, options: argparse.Namespace, *, rate: float) -> Run:
    book, now = ReplayBook(bus), datetime.now(UTC)
    await book.open()
    spec = ReplaySpec(
        run_id=new_run_id(now),
        start="recognized",
        until=now,
        tenant=TENANT,
        rate=rate,
        in_flight=options.in_flight,
        created_at=now,
    )
    return await book.begin(spec, "bench")


async def _singles(billow: Billow, count: int, name: str) -> list[float]:
    found: list[float] = []
    for number in range(count):
        pixels = np.full((640, 480, 3), 200, np.uint8)
        cv2.putText(pixels, f"{name} {number}", (20, 200), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0, 0, 0))
        data = cv2.imencode(".jpg", pixels)[1].tobytes()
        started = time.perf_counter()
        document = await billow.submit(data, source=f"{name}.jpg", document_id=f"{name}-{number}")
        await billow.result(document, timeout=60)
        found.append(1000 * (time.perf_counter() - started))
    return found


def _cpu(pid: int | None) -> float:
    """seconds of processor time of a process, 0 where it is none"""
    return 0.0 if pid is None else sum(psutil.Process(pid).cpu_times()[:2])


async def run(options: argparse.Namespace) -> tuple[Speed, Latency]:
    """Start everything and measure. Raises BillowError."""
    with tempfile.TemporaryDirectory(prefix="billow-replay-") as name:
        folder = Path(name)
        write_pretend_models(folder / "models", detect_ms=options.detect_ms, recognise_ms=options.recognise_ms)
        write_pretend_tagger(folder / "models", LABELS)
        os.environ["BILLOW_MODELS"] = str(folder / "models")
        (folder / "data").mkdir()
        await fill(folder / "data", options.documents)
        async with (
            Stack(folder / "data", models=(DETECTOR, OLD, TAGGER), log_level="warning") as stack,
            await Bus.connect(stack.url, name="bench") as bus,
        ):
            speed = await measure_speed(options, stack, bus)
            latency = await measure_latency(options, bus, stack.url, speed.documents_per_s * options.share)
    return speed, latency


def report(speed: Speed, latency: Latency, *, markdown: bool) -> str:
    """What to print."""
    total = sum(speed.cpu_ms.values())
    rows = [[name, f"{ms:.2f}"] for name, ms in speed.cpu_ms.items() if ms >= 0.005]
    sides = {"alone": latency.alone, f"beside {latency.rate:.0f} documents/s": latency.beside}
    return "\n\n".join(
        (
            f"{speed.documents:,} documents replayed at {speed.documents_per_s:.0f} documents/s, compared in "
            f"{speed.report.comparison_s:.1f} s",
            table(["process", "CPU ms a document"], [*rows, ["all", f"{total:.2f}"]], markdown=markdown),
            table(
                ["single documents", "n", "p50 ms", "p95 ms"],
                [
                    [name, str(len(found)), f"{statistics.median(found):.0f}", f"{p95(found):.0f}"]
                    for name, found in sides.items()
                ],
                markdown=markdown,
            ),
        )
    )


def p95(values: list[float]) -> float:
    """The 95th percentile."""
    return statistics.quantiles(values, n=20)[-1]


def bars_of(options: argparse.Namespace, speed: Speed, latency: Latency) -> list[Bar]:
    """Everything that has to hold."""
    growth = p95(latency.beside) / p95(latency.alone) - 1
    vanished = speed.report.fields["tax"].vanished
    return [
        Bar(name="all completed", value=float(speed.documents), least=float(options.documents)),
        Bar(name="vanished as expected", value=float(vanished), least=float(options.documents)),
        Bar(name="documents/s", value=speed.documents_per_s, least=options.min_rate),
        Bar(name="room under the bar for the growth of p95", value=options.max_growth - growth, least=0.0),
    ]


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        speed, latency = asyncio.run(run(options))
    except (BillowError, TimeoutError, msgspec.DecodeError) as e:
        print(e, file=sys.stderr)
        return 3
    print(report(speed, latency, markdown=options.markdown))
    bars = bars_of(options, speed, latency)
    print("\n" + "\n".join(bar_lines(bars)))
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
