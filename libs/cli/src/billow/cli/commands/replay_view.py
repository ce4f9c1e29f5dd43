"""Runs, their progress and their reports on a terminal."""

import contextlib
import time
from collections.abc import Callable, Generator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, JustifyMethod
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from billow.bus.replay.book import Run
from billow.cli.columns import fitting
from billow.schemas.replay import PromotionResult, PromotionState, ReplayReport, ReplayState

_EXAMPLES = 2
_LEFT = 10
_NUMBERS = ("documents", "sent", "completed", "failed")


@contextlib.contextmanager
def progress(err: Console) -> Generator[Callable[[ReplayState], None]]:
    """A bar with rate and time left; what it gives is told the state."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )
    task = bar.add_task("choosing", total=None, rate="")
    first: list[tuple[float, int]] = []

    def show(state: ReplayState) -> None:
        done = state.completed + state.failed
        if not state.planned:
            return
        first[:] = first or [(time.monotonic(), done)]
        seconds = time.monotonic() - first[0][0]
        rate = f"{(done - first[0][1]) / seconds:.0f}/s" if seconds > 0.5 else ""
        text = f"replaying, {state.failed} failed" if state.failed else "replaying"
        bar.update(task, description=text, total=state.planned, completed=done, rate=rate)

    with bar:
        yield show


_DROPPABLE = ("sent", "from", "began", "documents", "completed", "failed")


def runs(found: Sequence[Run], *, width: int) -> Table:
    """One line a run; what is least needed is left out where `width` characters are too few."""
    states = [run.state for run in found]
    columns = {
        "run": [run.spec.run_id for run in found],
        "from": [run.spec.start for run in found],
        "status": [
            "broke off" if run.state.status == "running" and not run.is_driven else run.state.status for run in found
        ],
        "documents": [str(state.planned) for state in states],
        "sent": [str(state.sent) for state in states],
        "completed": [str(state.completed) for state in states],
        "failed": [str(state.failed) for state in states],
        "began": [run.spec.created_at.isoformat(" ", "minutes")[:16] for run in found],
        "by": [run.spec.created_by for run in found],
    }
    shown = fitting(columns, width=width, elastic="by", least=8, droppable=_DROPPABLE)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, room in shown.items():
        side: JustifyMethod = "right" if name in _NUMBERS else "left"
        table.add_column(name, justify=side, no_wrap=True, overflow="ellipsis", width=room)
    for row in zip(*(columns[name] for name in shown), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    return table


def show_report(report: ReplayReport, run: Run, out: Console) -> None:
    """Print what came of a run."""
    head = f"run {report.run_id} from {report.start}: {report.compared} documents, {report.completed} completed"
    out.print(Text(f"{head}, {report.failed} failed", style="bold"))
    for problem in _problems(report, run):
        out.print(Text(problem, style="yellow"))
    out.print(_changes(report))
    if report.accuracy:
        out.print(_accuracy(report))
    examples = _examples(report)
    if examples.renderables:
        out.print(examples)
    if report.task_time:
        out.print(_times(report))
    cost = f", cost {report.cost:.2f} at {report.price_per_hour:g} an hour" if report.price_per_hour else ""
    out.print(
        f"{report.active_s:.1f} s, {report.documents_per_s:.0f} documents/s; "
        f"{report.model_s:.1f} s of models in this run{cost}; compared in {report.comparison_s:.1f} s"
    )


def standing(run_id: str, promoted: PromotionState | None) -> str:
    """Whether the results of a run are official, and how to change that."""
    if promoted is None or promoted.undone:
        return f"The records are as they were. Make these official with `billow replay promote {run_id}`."
    return (
        f"Results of this run were made official at {promoted.updated_at:%Y-%m-%d %H:%M} UTC. "
        f"Back: `billow replay promote {run_id} --undo`"
    )


def promotion(run_id: str, result: PromotionResult, *, undone: bool) -> Group:
    """What promoting or undoing has done."""
    what = "brought back" if undone else "made official"
    lines = [Text(f"{result.stated} records {what} ({result.promotion}), {result.known} were so already")]
    if result.failed:
        lines.append(Text(f"{result.failed} did not complete in the run and stay as they were", style="yellow"))
    if result.left_count:
        lines.append(Text(f"{result.left_count} were left as they are:", style="yellow"))
        lines += [Text(f"  {left}") for left in result.left[:_LEFT]]
    if not undone:
        lines.append(Text(f"Back: `billow replay promote {run_id} --undo`", style="dim"))
    return Group(*lines)


def _problems(report: ReplayReport, run: Run) -> list[str]:
    left = ", ".join(f"{count} {reason}" for reason, count in run.state.left_out.items())
    found = {
        f"left out: {left}": bool(left),
        f"{report.new} had no record before": report.new,
        f"{report.unanswered} have no outcome, as when a document is cancelled meanwhile": report.unanswered,
        f"{run.state.refused} could not be sent again": run.state.refused,
    }
    return [text for text, is_so in found.items() if is_so]


def _changes(report: ReplayReport) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("field")
    for name in ("appeared", "vanished", "changed", "same"):
        table.add_column(name, justify="right")
    for name, changes in report.fields.items():
        numbers = (changes.appeared, changes.vanished, changes.changed, changes.same)
        if any(numbers):
            table.add_row(name, *(str(number) if number else "·" for number in numbers))
    return table


def _accuracy(report: ReplayReport) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("right")
    for name in ("known", "before", "after"):
        table.add_column(name, justify="right")
    for name, found in report.accuracy.items():
        shares = (f"{right / found.known:.1%}" for right in (found.before, found.after))
        table.add_row(name, str(found.known), *shares)
    return table


def _examples(report: ReplayReport) -> Group:
    lines: list[Text] = []
    for name, changes in report.fields.items():
        for verdict, examples in changes.examples.items():
            for example in examples[:_EXAMPLES]:
                line = Text(f"{name} {verdict}  ", style="dim")
                line.append(f"{example.tenant}/{example.document_id}  ")
                line.append(f"{example.before or '–'} → {example.after or '–'}", style="default")
                lines.append(line)
    return Group(*lines)


def _times(report: ReplayReport) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("model ms a document")
    for name in ("documents", "before", "after"):
        table.add_column(name, justify="right")
    for task, time_ in report.task_time.items():
        means = (f"{1000 * seconds / time_.documents:.1f}" for seconds in (time_.before_s, time_.after_s))
        table.add_row(task, str(time_.documents), *means)
    return table
