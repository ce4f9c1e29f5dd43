"""The whole system, layout and database included, beside RapidOCR in process on the same pictures.

Starts `billow up`, then deals the documents into rounds; each round goes through our stack (`--jobs` at a time), and
through RapidOCR with its OpenVINO engine and with onnxruntime, one after the other since all want every core. Prints

- seconds a document, and how many times as fast as each peer we are; the peer's time is that of its calls alone, ours
  runs from the first submission to the last record;
- latency: the median of documents that are alone in the system, `--alone` of each round;
- word F1 as in `benchmarks.accuracy`;
- bytes a document on the link to the workers.

Exit code 1 if a bar is missed, 3 if one side could not run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import cast

if not __package__:  # started by its path instead of -m
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks import arguments
from benchmarks.beside import Tally, rounds_of, run_alone, run_ours, run_theirs, say
from benchmarks.datasets import DatasetError
from benchmarks.extraction import Answer, RunError
from benchmarks.peer import PeerEngine
from benchmarks.report import Bar, bar_lines
from benchmarks.stack import running_stack
from benchmarks.tables import table

ENGINES: tuple[PeerEngine, ...] = ("openvino", "onnxruntime")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The options; ends the process on wrong usage."""
    parser = arguments.parser("ocr", __doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="turns of each side (default 3)")
    parser.add_argument("--jobs", type=int, default=8, metavar="N", help="documents on their way at once (default 8)")
    parser.add_argument("--alone", type=int, default=5, metavar="N", help="documents timed alone a round (default 5)")
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME", help="model for `billow up`, once for each"
    )
    bars = parser.add_argument_group("bars; missing one gives exit code 1")
    bars.add_argument("--min-speedup", type=float, metavar="X", help="at least X times as fast as the better peer")
    bars.add_argument("--max-latency", type=float, metavar="X", help="latency at most X times the better peer's")
    bars.add_argument("--max-f1-loss", type=float, metavar="X", help="word F1 at most X under the better peer's")
    options = parser.parse_args(argv)
    if options.limit is None:
        options.limit = 60
    return options


def measure(
    options: argparse.Namespace, *, peer: Sequence[str] | None = None
) -> tuple[Tally, list[Tally], list[Answer]]:
    """Ours, the peers, and our answers. Raises DatasetError and RunError."""
    documents = arguments.documents_of(options)
    command = arguments.command_of(options)
    ours = Tally("billow")
    theirs: dict[PeerEngine, Tally] = {engine: Tally(f"RapidOCR, {engine}") for engine in ENGINES}
    answers: list[Answer] = []
    models = [part for name in options.model for part in ("--model", name)]
    with running_stack(command, options=models) as stack:
        say("warming up")
        run_ours(Tally("warm-up"), documents[:3], command=command, nats_url=stack.nats_url, jobs=options.jobs)
        for number, part in enumerate(rounds_of(documents, cast(int, options.rounds)), 1):
            say(f"round {number}: {len(part)} documents, billow")
            answers += run_ours(ours, part, command=command, nats_url=stack.nats_url, jobs=options.jobs)
            run_alone(ours, part[: options.alone], command=command, nats_url=stack.nats_url)
            for engine, tally in theirs.items():
                say(f"round {number}: {tally.name}")
                run_theirs(tally, part, engine, command=peer)
    return ours, list(theirs.values()), answers


def rows_of(ours: Tally, theirs: Sequence[Tally]) -> list[list[str]]:
    """A line each, ratios to ours."""
    rows: list[list[str]] = []
    for tally in (ours, *theirs):
        latency, own = tally.latency, ours.latency
        rows.append(
            [
                tally.name,
                f"{tally.documents - tally.unread} of {tally.documents}",
                f"{tally.s_per_document:.3f}",
                f"{tally.s_per_document / ours.s_per_document:.2f} x",
                "-" if latency is None else f"{latency:.3f}",
                "-" if latency is None or own is None else f"{own / latency:.2f} x",
                f"{tally.words.f1:.4f}",
                f"{ours.words.f1 - tally.words.f1:+.4f}",
            ]
        )
    return rows


HEADERS = ("", "read", "s a document", "we are faster", "s alone", "our latency", "word F1", "we are better")


def bars_of(options: argparse.Namespace, ours: Tally, theirs: Sequence[Tally]) -> list[Bar]:
    """What was asked for, beside what came out; always against the better of the peers."""
    bars: list[Bar] = []
    if options.min_speedup is not None:
        best = min(tally.s_per_document for tally in theirs)
        bars.append(Bar(name="times as fast", value=best / ours.s_per_document, least=options.min_speedup))
    if options.max_latency is not None:
        best = min(tally.latency or 0.0 for tally in theirs)
        # As a speed, so that more is better like everywhere.
        value = None if not ours.latency else best / ours.latency
        bars.append(Bar(name="peer's latency over ours", value=value, least=1 / options.max_latency))
    if options.max_f1_loss is not None:
        best = max(tally.words.f1 for tally in theirs)
        bars.append(Bar(name="word F1 against the better peer", value=ours.words.f1 - best, least=-options.max_f1_loss))
    return bars


def bytes_line(answers: Sequence[Answer]) -> str:
    """Bytes a document by task, means."""
    tasks = sorted({task for answer in answers for task in answer.link_bytes})
    means = {task: mean(answer.link_bytes.get(task, 0) for answer in answers) for task in tasks}
    return "kB a document: " + (", ".join(f"{task} {value / 1000:.0f}" for task, value in means.items()) or "not told")


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    options = parse(argv)
    try:
        ours, theirs, answers = measure(options)
    except (DatasetError, RunError) as e:
        print(e, file=sys.stderr)
        return 3
    print(table(HEADERS, rows_of(ours, theirs), markdown=options.markdown))
    print(f"\n{bytes_line(answers)}")
    bars = bars_of(options, ours, theirs)
    if bars:
        print("\n" + "\n".join(bar_lines(bars)))
    return 0 if all(bar.met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
