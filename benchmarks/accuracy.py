"""How well and how fast `billow extract` reads, beside RapidOCR on the same files in the same run.

Runs the real command over a folder of documents with truth, then RapidOCR (in an environment of its own), one after
the other since both want all cores, and prints

- completed: documents whose record says so;
- word F1: bags of words over all documents together (micro). A word is a run of a-z and 0-9 in the lower-cased text,
  order does not count. Our text is what the OCR service read (`extract --with-text`), not the fields;
- seconds a document: wall time from the first submission to the last record (RapidOCR: sum over its calls), and the
  same with starting, loading and stopping;
- fields: how many of those that the truth has are right. Dates are equal as ISO dates (a truth like 05/04/2018 is
  read day first), money as numbers; names and addresses get the F1 of their words. A document that failed, and a
  field that was not found, count as wrong.

Exit code 1 if a bar is missed, 3 if one of the two could not run.
"""

import argparse
import sys
from pathlib import Path
from typing import cast

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import arguments
from benchmarks.datasets import DatasetError, Document
from benchmarks.extraction import RunError, extract
from benchmarks.peer import PeerRun, run_peer
from benchmarks.report import Bar, Report, bar_lines, make_report, miss_lines, report_tables

PEER_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))
DEFAULT_FIELDS = "date,total,store_name,store_address"


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = arguments.parser("accuracy", __doc__)
    parser.add_argument("--fields", default=DEFAULT_FIELDS, help=f"comma-separated (default: {DEFAULT_FIELDS})")
    parser.add_argument("--misses", action="store_true", help="list every field that is wrong")
    parser.add_argument("--no-peer", action="store_true", help="leave RapidOCR out")
    parser.add_argument("--jobs", type=int, metavar="N", help="documents on their way at once (default: the command's)")
    bars = parser.add_argument_group("bars, each 0..1; missing one gives exit code 1")
    bars.add_argument("--max-f1-loss", type=float, metavar="X", help="word F1 may be at most X under RapidOCR's")
    bars.add_argument("--min-date", type=float, metavar="X", help="share of dates that must be right")
    bars.add_argument("--min-total", type=float, metavar="X", help="share of totals that must be right")
    bars.add_argument("--min-completed", type=float, metavar="X", help="share of documents that must complete")
    options = parser.parse_args(argv)
    if options.max_f1_loss is not None and options.no_peer:
        parser.error("--max-f1-loss needs RapidOCR, so leave --no-peer out")
    return options


def run(options: argparse.Namespace) -> Report:
    """Run both and score. Raises DatasetError and RunError."""
    documents = arguments.documents_of(options)
    jobs = [] if options.jobs is None else ["--jobs", str(options.jobs)]
    print(f"billow: {len(documents)} documents of {options.data}", file=sys.stderr)
    ours = extract(
        [document.path for document in documents],
        command=arguments.command_of(options),
        options=["--with-text", *jobs],
    )
    peer = None if options.no_peer else _peer(documents)
    fields = [name.strip() for name in cast(str, options.fields).split(",") if name.strip()]
    return make_report(documents, ours, peer, fields)


def _peer(documents: list[Document]) -> tuple[list[Document], PeerRun] | None:
    """RapidOCR on those that are images; it reads no PDF. None if there is no image."""
    images = [document for document in documents if document.path.suffix.lower() in PEER_SUFFIXES]
    if not images:
        return None
    print(f"RapidOCR: {len(images)} images", file=sys.stderr)
    return images, run_peer([document.path for document in images])


def bars_of(options: argparse.Namespace, report: Report) -> list[Bar]:
    """What was asked for, beside what came out."""
    bars: list[Bar] = []
    if options.min_completed is not None:
        bars.append(Bar(name="completed", value=report.completed_share, least=options.min_completed))
    if options.max_f1_loss is not None:
        bars.append(Bar(name="word F1 against RapidOCR", value=report.f1_difference, least=-options.max_f1_loss))
    for name, least in (("date", options.min_date), ("total", options.min_total)):
        if least is not None:
            bars.append(Bar(name=name, value=report.share_of(name), least=least))
    return bars


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        report = run(options)
    except (DatasetError, RunError) as e:
        print(e, file=sys.stderr)
        return 3
    print(report_tables(report, markdown=options.markdown))
    if options.misses:
        print("\n" + "\n".join(miss_lines(report)))
    bars = bars_of(options, report)
    if bars:
        print("\n" + "\n".join(bar_lines(bars)))
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
