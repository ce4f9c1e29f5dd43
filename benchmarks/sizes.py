"""The stress test of the first system of this kind: five picture sizes, 25 requests at a time, then 250.

The same 25 named receipts are fitted into each frame. For each size all 25 are handed in at once, in turns with
RapidOCR and its OpenVINO engine in process, which takes one after the other. The time an image is the wall time over
the number of images. At the end 250 requests are in flight at once: all must be answered, none refused.

The first system's own times are printed beside ours: four GPUs (RTX 3060) on two workstations, 25 requests at a time.

Exit code 1 if a bar is missed, 3 if one side could not run.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import arguments
from benchmarks.beside import Tally, run_ours, run_theirs, say
from benchmarks.datasets import DatasetError, Document
from benchmarks.extraction import RunError
from benchmarks.frames import fit_all
from benchmarks.report import Bar, bar_lines
from benchmarks.stack import running_stack
from benchmarks.tables import table

AT_ONCE = 25
FLOOD = 250
SIZES: dict[tuple[int, int], float] = {
    (480, 640): 0.2,
    (640, 960): 0.24,
    (1280, 960): 0.4,
    (1920, 1080): 0.6,
    (4032, 3024): 1.8,
}
"""Width and height in px -> seconds an image that the first system took."""
NAMES = [
    "003", "026", "051", "075", "100", "126", "148", "177", "204", "231", "255", "281", "307",
    "331", "356", "382", "405", "430", "454", "480", "501", "529", "554", "576", "601",
]  # fmt: skip
"""Every twentieth receipt of the development set, chosen before anything was measured on them."""


@dataclass(frozen=True, kw_only=True)
class SizeResult:
    """One size."""

    width: int
    height: int
    ours: Tally
    theirs: Tally
    first_system_s: float

    @property
    def speedup(self) -> float:
        """How many times as fast as the peer we are."""
        return self.theirs.s_per_document / self.ours.s_per_document


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = arguments.parser("sizes", __doc__)
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="times each side has its turn (default 1)")
    parser.add_argument("--any-names", action="store_true", help="take the first 25, whatever they are called")
    parser.add_argument("--no-flood", action="store_true", help=f"leave out the {FLOOD} at a time")
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="model for `billow up`, once for each"
    )
    parser.add_argument("--min-speedup", type=float, metavar="X", help="bar: so many times as fast, at every size")
    return parser.parse_args(argv)


def chosen(options: argparse.Namespace) -> list[Document]:
    """The 25 receipts. Raises DatasetError if one is missing."""
    documents = arguments.documents_of(options)
    if options.any_names:
        return documents[:AT_ONCE]
    by_id = {document.id: document for document in documents}
    if missing := [name for name in NAMES if name not in by_id]:
        raise DatasetError(f"{options.data} lacks the receipts {', '.join(missing)}; --any-names takes what is there.")
    return [by_id[name] for name in NAMES]


def measure(options: argparse.Namespace, *, peer: Sequence[str] | None = None) -> tuple[list[SizeResult], Tally | None]:
    """One result a size, and the flood. Raises DatasetError and RunError."""
    documents = chosen(options)
    command = arguments.command_of(options)
    models = [part for name in options.model for part in ("--model", name)]
    results: list[SizeResult] = []
    flood: Tally | None = None
    with (
        tempfile.TemporaryDirectory(prefix="billow-sizes-") as folder,
        running_stack(command, options=models) as stack,
    ):
        run_ours(Tally("warm-up"), documents[:3], command=command, nats_url=stack.nats_url, jobs=AT_ONCE)
        for (width, height), first_system_s in SIZES.items():
            framed = fit_all(documents, width, height, Path(folder))
            ours, theirs = Tally("billow"), Tally("RapidOCR, openvino")
            for number in range(cast(int, options.rounds)):
                say(f"{width} x {height}, round {number + 1}")
                run_ours(ours, framed, command=command, nats_url=stack.nats_url, jobs=AT_ONCE)
                run_theirs(theirs, framed, "openvino", command=peer)
            results.append(
                SizeResult(width=width, height=height, ours=ours, theirs=theirs, first_system_s=first_system_s)
            )
        if not options.no_flood:
            width, height = next(iter(SIZES))
            say(f"{FLOOD} at a time, {width} x {height}")
            many = fit_all(documents, width, height, Path(folder)) * -(-FLOOD // len(documents))
            flood = Tally("flood")
            run_ours(flood, many[:FLOOD], command=command, nats_url=stack.nats_url, jobs=FLOOD)
    return results, flood


HEADERS = ("px", "s an image", "RapidOCR", "faster", "first system, 4 GPUs", "word F1", "RapidOCR's")


def rows_of(results: Sequence[SizeResult]) -> list[list[str]]:
    """A line a size."""
    return [
        [
            f"{result.width} x {result.height}",
            f"{result.ours.s_per_document:.3f}",
            f"{result.theirs.s_per_document:.3f}",
            f"{result.speedup:.2f} x",
            f"{result.first_system_s:.2f}",
            f"{result.ours.words.f1:.4f}",
            f"{result.theirs.words.f1:.4f}",
        ]
        for result in results
    ]


def bars_of(options: argparse.Namespace, results: Sequence[SizeResult], flood: Tally | None) -> list[Bar]:
    """What must hold: everything answered, and the speed that was asked for."""
    bars = [
        Bar(name=f"{r.width} x {r.height}: times as fast", value=r.speedup, least=options.min_speedup)
        for r in results
        if options.min_speedup is not None
    ]
    unread = sum(result.ours.unread for result in results)
    bars.append(Bar(name=f"answered of {AT_ONCE} at a time", value=1.0 if unread == 0 else 0.0, least=1.0))
    if flood is not None:
        share = (flood.documents - flood.unread) / flood.documents
        bars.append(Bar(name=f"answered of {FLOOD} at a time", value=share, least=1.0))
    return bars


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        results, flood = measure(options)
    except (DatasetError, RunError) as e:
        print(e, file=sys.stderr)
        return 3
    print(table(HEADERS, rows_of(results), markdown=options.markdown))
    if flood is not None:
        answered = flood.documents - flood.unread
        print(f"\n{FLOOD} at a time: {answered} answered, {flood.unread} not, {flood.s_per_document:.3f} s an image")
    bars = bars_of(options, results, flood)
    print("\n" + "\n".join(bar_lines(bars)))
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
