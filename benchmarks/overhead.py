"""What everything around the models costs: one document in flight on an idle machine.

Runs `billow extract --jobs 1` and takes `total` (submission to record) and `engines` (inside the engines' `run()`)
from each record's `timings_ms`. The overhead of a document is (total - engines) / total; the median counts. The first
documents of a fresh stack are colder than the rest: `--warm-up` leaves them out.

Exit code 1 if the bar is missed, 3 if the command could not run or its records lack the times.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import arguments
from benchmarks.datasets import DatasetError
from benchmarks.extraction import Answer, RunError, extract
from benchmarks.tables import table


def share(timings_ms: Mapping[str, float]) -> float:
    """Overhead of one document, 0..1. Raises RunError without both times."""
    total, engines = timings_ms.get("total"), timings_ms.get("engines")
    if total is None or engines is None or total <= 0:
        raise RunError(f"A record has no `total` or no `engines` in timings_ms: {dict(timings_ms)}")
    return (total - engines) / total


def stage_rows(answers: Iterable[Answer]) -> list[list[str]]:
    """Median and share of the median total for each stage, in the order of the records."""
    values: dict[str, list[float]] = defaultdict(list)
    for answer in answers:
        for stage, ms in answer.timings_ms.items():
            values[stage].append(ms)
    total = median(values["total"])
    return [[name, f"{median(ms):.1f}", f"{100 * median(ms) / total:.1f} %"] for name, ms in values.items()]


def summary(shares: Sequence[float]) -> str:
    """One line."""
    return (
        f"overhead of {len(shares)} documents, (total - engines) / total: median {100 * median(shares):.1f} %, "
        f"best {100 * min(shares):.1f} %, worst {100 * max(shares):.1f} %"
    )


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = arguments.parser("overhead", __doc__)
    parser.add_argument("--warm-up", type=int, default=1, metavar="N", help="leave the first N out (default 1)")
    parser.add_argument("--max-share", type=float, metavar="X", help="bar: the median may be at most X (0..1)")
    return parser.parse_args(argv)


def measure(options: argparse.Namespace) -> list[Answer]:
    """The records that count. Raises DatasetError and RunError."""
    documents = arguments.documents_of(options)
    paths = [document.path for document in documents]
    run = extract(paths, command=arguments.command_of(options), options=["--jobs", "1"])
    answers = [answer for answer in run.answers[options.warm_up :] if answer.status == "completed"]
    if not answers:
        raise RunError("No document completed after the warm-up.")
    return answers


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        answers = measure(options)
        shares = [share(answer.timings_ms) for answer in answers]
    except (DatasetError, RunError) as e:
        print(e, file=sys.stderr)
        return 3
    print(table(["stage", "median ms", "of total"], stage_rows(answers), markdown=options.markdown))
    print(f"\n{summary(shares)}")
    if options.max_share is None:
        return 0
    met = median(shares) <= options.max_share
    print(f"{'met   ' if met else 'MISSED'} median overhead: at most {100 * options.max_share:.1f} %")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
