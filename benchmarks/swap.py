"""A model is swapped while 500 documents are under way: what happened to them?

Starts `billow up` with a detector and a recogniser that only sleep, so that everything around the models is what is
tested, and a worker of the recogniser's second version. Hands in all documents, runs the real command `billow models
swap` while most of them wait, and waits for every record. Documents count as lost without a record, and as
doubled with two outcomes in the history; the command's own proof is about single requests.

Exit code 1 if a bar is missed, 3 if a side could not run.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.extraction import COMMAND, RunError, split_command
from benchmarks.report import Bar, bar_lines
from benchmarks.stack import running_stack
from benchmarks.tables import table
from benchmarks.workers import Workers
from billow.bus.connection import Bus
from billow.bus.publish import events
from billow.bus.swap_watch import PHASES, SwapReport
from billow.client import Billow
from billow.runtime.errors import BillowError
from billow.schemas.events import Completed, Failed
from billow.schemas.record import Record
from billow.testkit.models import DETECTOR_TOKEN, NEW, OLD, write_pretend_models

PAGE = (480, 640)
"""px, width and height"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of the documents, and the command's proof."""

    documents: int
    completed: int
    by_new: int
    """Documents that the new model read."""
    doubled: int
    proof: SwapReport


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.swap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=500, metavar="N", help="under way at once (default 500)")
    parser.add_argument("--detect-ms", type=float, default=60.0, metavar="MS", help="of a detection (default 60)")
    parser.add_argument("--recognise-ms", type=float, default=15.0, metavar="MS", help="of a batch (default 15)")
    parser.add_argument("--watch", type=float, default=2.0, metavar="S", help="before and after (default 2)")
    parser.add_argument("--max-gap-ms", type=float, default=100.0, metavar="MS", help="bar for the gap (default 100)")
    parser.add_argument("--billow", metavar="COMMAND", help="instead of `python -m billow.cli`")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    return parser.parse_args(argv)


def page(number: int) -> bytes:
    """A grey page; no two are the same."""
    pixels = np.full((PAGE[1], PAGE[0], 3), 200, np.uint8)
    cv2.putText(pixels, str(number), (20, 200), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0, 0, 0))
    return cv2.imencode(".jpg", pixels)[1].tobytes()


async def swap_under_load(
    options: argparse.Namespace, url: str, command: Sequence[str], env: dict[str, str]
) -> Outcome:
    """Hand in, swap, wait. Raises RunError and BillowError."""
    async with Billow(url) as billow, Workers(NEW, {**env, "BILLOW_NATS_URL": url}) as workers:
        await workers.scale(1)
        ids = [f"swap-{number}" for number in range(options.documents)]
        handed_in = asyncio.Semaphore(25)

        async def hand_in(number: int) -> None:
            async with handed_in:
                await billow.submit(page(number), source=f"{number}.jpg", document_id=ids[number])

        await asyncio.gather(*(hand_in(number) for number in range(len(ids))))
        await billow.result(ids[0], timeout=120)
        proof = await _swap(options, url, command, env)
        records = [await billow.result(document_id, timeout=120) for document_id in ids]
    async with await Bus.connect(url, name="bench") as bus:
        doubled = [document_id for document_id in ids if await _outcomes(bus, document_id) != 1]
    return Outcome(
        documents=len(ids),
        completed=sum(record.status == "completed" for record in records),
        by_new=sum(_read_by(record) == NEW for record in records),
        doubled=len(doubled),
        proof=proof,
    )


async def _outcomes(bus: Bus, document_id: str) -> int:
    """How many `completed` and `failed` events the history has."""
    return sum([1 for type_ in (Completed, Failed) async for _ in events(bus, type_, "default", document_id)])


def _read_by(record: Record) -> str:
    return record.models.get("text-recognition", "")


async def _swap(options: argparse.Namespace, url: str, command: Sequence[str], env: dict[str, str]) -> SwapReport:
    arguments = [*command, "models", "swap", "text-recognition", OLD, NEW, "--watch", str(options.watch)]
    process = await asyncio.create_subprocess_exec(
        *arguments,
        "--format",
        "jsonl",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **env, "BILLOW_NATS_URL": url},
    )
    said, complaint = await process.communicate()
    if process.returncode not in (0, 1) or not said.strip():
        raise RunError(f"`billow models swap` ended with {process.returncode}: {complaint.decode()[-1000:]}")
    return msgspec.json.decode(said, type=SwapReport)


def run(options: argparse.Namespace) -> Outcome:
    """Start everything and measure. Raises RunError and BillowError."""
    command = COMMAND if options.billow is None else split_command(options.billow)
    with tempfile.TemporaryDirectory(prefix="billow-swap-") as folder:
        write_pretend_models(Path(folder), detect_ms=options.detect_ms, recognise_ms=options.recognise_ms)
        own = os.environ.get("BILLOW_MODELS", str(Path(__file__).resolve().parent.parent / "models"))
        env = {"BILLOW_MODELS": os.pathsep.join((folder, own))}
        models = ["--model", DETECTOR_TOKEN, "--model", OLD, "--model", "rules"]
        with running_stack(command, options=models, env=env) as stack:
            assert stack.nats_url is not None
            return asyncio.run(swap_under_load(options, stack.nats_url, command, env))


def report(outcome: Outcome, *, markdown: bool) -> str:
    """What to print."""
    proof = outcome.proof
    rows = [
        [
            phase,
            str(proof.latency[phase].requests),
            f"{proof.latency[phase].p50_ms:.0f}",
            f"{proof.latency[phase].p95_ms:.0f}",
            f"{proof.latency[phase].longest_ms:.0f}",
        ]
        for phase in PHASES
    ]
    return (
        f"documents: {outcome.completed} of {outcome.documents} completed, {outcome.by_new} by the new model, "
        f"{outcome.doubled} with more than one outcome\n"
        f"requests: {proof.requests} watched, lost {proof.lost}, doubled {proof.doubled}; longest gap "
        f"{proof.longest_gap_ms:.0f} ms, drained after {proof.drain_s:.2f} s\n\n"
        + table(["", "requests", "p50 ms", "p95 ms", "longest ms"], rows, markdown=markdown)
    )


def bars_of(options: argparse.Namespace, outcome: Outcome) -> list[Bar]:
    """Everything that has to hold."""
    proof = outcome.proof
    lost = outcome.documents - outcome.completed + proof.lost
    doubled = outcome.doubled + proof.doubled
    under_way = sum(latency.requests for latency in proof.latency.values())
    return [
        Bar(name="nothing lost", value=-float(lost), least=0.0),
        Bar(name="nothing doubled", value=-float(doubled), least=0.0),
        Bar(name="gap, ms below the bar", value=options.max_gap_ms - proof.longest_gap_ms, least=0.0),
        Bar(name="requests watched while it happened", value=float(under_way), least=1.0),
        Bar(name="documents read by the new model", value=float(outcome.by_new), least=1.0),
    ]


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        outcome = run(options)
    except (RunError, BillowError, TimeoutError) as e:
        print(e, file=sys.stderr)
        return 3
    print(report(outcome, markdown=options.markdown))
    bars = bars_of(options, outcome)
    print("\n" + "\n".join(bar_lines(bars)))
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
