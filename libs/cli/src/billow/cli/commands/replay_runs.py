"""What can be done to a run from another terminal: pause, cancel, list, show, promote."""

from collections.abc import Collection

from rich.console import Console
from rich.text import Text

from billow.bus.replay import control, promotion
from billow.bus.replay.book import ReplayBook
from billow.cli.commands import replay_view
from billow.cli.counts import counted
from billow.cli.hub import connect
from billow.runtime.errors import UsageError
from billow.schemas import codec


async def pause(run_id: str, err: Console) -> None:
    """Raises UsageError where there is no such run."""
    async with await connect("replay") as bus:
        paused = await control.pause(bus, run_id)
    err.print(
        f"Nothing more is sent. Go on with `billow replay resume {run_id}`."
        if paused
        else f"Run {run_id} was not running."
    )


async def cancel(run_id: str, err: Console) -> None:
    """Raises UsageError where there is no such run, or it is finished."""
    async with await connect("replay") as bus:
        gone = await control.cancel(bus, run_id)
    taken = f"{counted(gone, 'event')} of it {'was' if gone == 1 else 'were'} taken out"
    err.print(f"Cancelled; {taken}. What was worked out stays under the run.")


async def list_(*, table: bool, out: Console) -> None:
    """Print all runs, the oldest first."""
    async with await connect("replay") as bus:
        await ReplayBook(bus).open()
        runs = await ReplayBook(bus).all()
    if table:
        out.print(replay_view.runs(runs, width=out.width) if runs else "No history was replayed yet.")
        return
    for run in runs:
        out.file.write(codec.encode({"spec": run.spec, "state": run.state}).decode() + "\n")


async def show(run_id: str, *, table: bool, out: Console) -> None:
    """Print one run and, if it is finished, its report. Raises UsageError where there is no such run."""
    async with await connect("replay") as bus:
        book = ReplayBook(bus)
        await book.open()
        run, report = await book.get(run_id), await book.report(run_id)
    if not table:
        out.file.write(codec.encode({"spec": run.spec, "state": run.state, "report": report}).decode() + "\n")
        return
    out.print(replay_view.runs([run], width=out.width))
    if report is not None:
        replay_view.show_report(report, run, out)


async def promote(
    run_id: str, documents: Collection[str], *, undo: bool, table: bool, out: Console, err: Console
) -> bool:
    """Make a run's results official, or take that back; False if some were left as they are.

    Raises:
        UsageError: there is no such run, it still runs, or was never promoted.
    """
    async with await connect("replay") as bus:
        await ReplayBook(bus).open()
        run = await ReplayBook(bus).get(run_id)
        unknown = set(documents) - set(run.spec.documents) if run.spec.documents else set[str]()
        if unknown:
            raise UsageError(f"{len(unknown)} of the documents are not in run {run_id}, e.g. {min(unknown)}.")
        work = promotion.undo if undo else promotion.promote
        result = await work(bus, run, frozenset(documents))
    if table:
        out.print(replay_view.promotion(run_id, result, undone=undo))
    else:
        out.file.write(codec.encode(result).decode() + "\n")
    left = run.state.planned - run.state.completed - run.state.failed
    if left > 0 and not undo:
        text = f"{left} of its {run.state.planned} documents have no outcome in this run and stay as they were."
        err.print(Text(text, style="yellow"))
    return not result.left_count
