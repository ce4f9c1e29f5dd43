"""How much memory a running stack takes, process by process: idle, while it works, and idle again.

Starts `billow up` by itself, or looks at one that runs (`--pid`, of the `billow up` process; the documents then go to
the stack at BILLOW_NATS_URL). RSS counts all pages that a process can see, so pages that several share (the Python
interpreter, libraries, weights mapped from a file) count in each. PSS shares those out: only PSS adds up to what the
machine really gives. While working, each process shows its own peak; the last row is the peak of the sum, which can be
less than the sum of the peaks.

Exit code 3 if the stack or the command could not run.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import arguments
from benchmarks.datasets import DatasetError, Document
from benchmarks.extraction import RunError, extract
from benchmarks.footprint import Footprint, Peaks, footprint
from benchmarks.stack import RunningStack, running_stack
from benchmarks.tables import table

_EVERY = 0.2
"""seconds between two looks"""


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = arguments.parser("memory", __doc__)
    parser.add_argument("--pid", type=int, help="look at this running `billow up` instead of starting one")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="give it the documents N times (default 1)")
    parser.add_argument("--jobs", type=int, default=8, metavar="N", help="documents on their way at once (default 8)")
    parser.add_argument(
        "--settle", type=float, default=3.0, metavar="S", help="seconds of rest before it counts as idle"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        documents = arguments.documents_of(options) * options.repeat
        with _stack(options) as stack:
            time.sleep(options.settle)
            idle = footprint(stack.pid)
            peaks = _work(stack, documents, options)
            time.sleep(options.settle)
            after = footprint(stack.pid)
    except (DatasetError, RunError) as e:
        print(e, file=sys.stderr)
        return 3
    print(f"{len(documents)} documents, {options.jobs} at once; MB of 1,000,000 bytes\n")
    print(memory_table(idle, peaks, after, markdown=options.markdown))
    return 0


@contextlib.contextmanager
def _stack(options: argparse.Namespace) -> Generator[RunningStack]:
    if options.pid is not None:
        yield RunningStack(pid=options.pid, nats_url=None)
        return
    with running_stack(arguments.command_of(options)) as stack:
        yield stack


def _work(stack: RunningStack, documents: list[Document], options: argparse.Namespace) -> Peaks:
    """Send the documents and look at the processes until the last record is there."""
    peaks = Peaks()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(
            extract,
            [document.path for document in documents],
            command=arguments.command_of(options),
            options=["--jobs", str(options.jobs)],
            nats_url=stack.nats_url,
        )
        while not run.done():
            peaks.add(footprint(stack.pid))
            time.sleep(_EVERY)
        answers = run.result().answers
    completed = sum(answer.status == "completed" for answer in answers)
    if completed < len(answers):
        print(f"Only {completed} of {len(answers)} documents completed.", file=sys.stderr)
    return peaks


def memory_table(idle: Footprint, peaks: Peaks, after: Footprint, *, markdown: bool = False) -> str:
    """A row a process, in the order of the idle footprint, and the sum."""
    names = list(dict.fromkeys([*idle.processes, *peaks.processes, *after.processes]))
    rows = [[name, *_pair(idle, name), *_pair(peaks, name), *_pair(after, name)] for name in names]
    sums = [part.total for part in (idle, peaks, after)]
    rows.append(["all", *(f"{value / 1e6:.0f}" for one in sums for value in (one.rss, one.pss))])
    headers = ["process", "idle RSS", "PSS", "working RSS", "PSS", "after RSS", "PSS"]
    return table(headers, rows, markdown=markdown)


def _pair(part: Footprint | Peaks, name: str) -> list[str]:
    memory = part.processes.get(name)
    return ["-", "-"] if memory is None else [f"{memory.rss / 1e6:.0f}", f"{memory.pss / 1e6:.0f}"]


if __name__ == "__main__":
    sys.exit(main())
