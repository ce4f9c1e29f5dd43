"""`billow replay`: begins or resumes a run, shows how far it is, and prints what came of it."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from billow.bus.connection import Bus
from billow.bus.presence import present_workers
from billow.bus.replay.book import ReplayBook, Run
from billow.bus.replay.control import new_run_id, purge
from billow.bus.replay.driver import ReplayDriver, new_driver
from billow.bus.replay.promotion import promote
from billow.bus.replay.reporting import make_report
from billow.bus.replay.truth import TruthFolder
from billow.bus.routes import TASKS
from billow.cli.commands import replay_view
from billow.cli.hub import connect, who
from billow.cli.moments import moment, rate
from billow.cli.names import Names
from billow.runtime.errors import UsageError
from billow.schemas import codec
from billow.schemas.labels import Kind, Task
from billow.schemas.replay import Into, ReplayReport, ReplaySpec, Start
from billow.schemas.tokens import check_token


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for on the command line."""

    start: Start
    since: str = ""
    until: str = ""
    kind: Kind | None = None
    tenant: str = ""
    """Empty for all."""
    documents: Path | None = None
    """File with one document id a line; `-` is standard input."""
    models: tuple[str, ...] = ()
    """`TASK=NAME`"""
    into: Into = "run"
    rate: str = ""
    in_flight: int = 1_000
    price_per_hour: float = 0.0
    run_id: str = ""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """How to end: what to compare with, and how to print."""

    truth: Path | None = None
    table: bool = True


async def start(request: Request, shown: Shown, out: Console, err: Console) -> bool:
    """Begin a run and drive it to its end; True if every document completed.

    Raises:
        UsageError, ValueError: it cannot be asked for like that; nothing was sent.
        StackUnreachableError: NATS does not answer.
    """
    truth = None if shown.truth is None else TruthFolder(shown.truth)
    async with await connect("replay") as bus:
        spec = await _spec(bus, request)
        book, driver = ReplayBook(bus), new_driver()
        await book.open()
        run = await book.begin(spec, driver)
        return await _drive(bus, run, driver, truth, shown, out, err)


async def resume(run_id: str, shown: Shown, out: Console, err: Console) -> bool:
    """Go on with a run that was paused or broke off, or report again on one that is finished. As `start`."""
    truth = None if shown.truth is None else TruthFolder(shown.truth)
    async with await connect("replay") as bus:
        await ReplayBook(bus).open()
        run = await ReplayBook(bus).get(run_id)
        if run.is_driven:
            err.print(Text("Another command drove it until now; it ends, and this one goes on.", style="yellow"))
        return await _drive(bus, run, new_driver(), truth, shown, out, err)


def read_documents(path: Path | None) -> tuple[str, ...]:
    """The document ids in a file, one a line; blank lines and those that begin with # are passed over.

    Raises:
        UsageError: it cannot be read, or names none.
        ValueError: a line is no document id.
    """
    if path is None:
        return ()
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} cannot be read: {e}") from e
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(dict.fromkeys(check_token(line, "document id") for line in lines if line and line[0] != "#"))
    if not found:
        raise UsageError(f"{path} names no document; write one id a line.")
    return found


async def _spec(bus: Bus, request: Request) -> ReplaySpec:
    now = datetime.now(UTC)
    since = moment(request.since, "--since", now) if request.since else None
    until = moment(request.until, "--until", now) if request.until else now
    if since is not None and since >= until:
        raise UsageError(f"Nothing lies between {since.isoformat()} and {until.isoformat()}.")
    return ReplaySpec(
        run_id=request.run_id or new_run_id(now),
        start=request.start,
        since=since,
        until=until,
        tenant=check_token(request.tenant, "tenant") if request.tenant else None,
        kind=request.kind,
        documents=read_documents(request.documents),
        models=await _models(bus, request.models, request.start),
        into=request.into,
        rate=rate(request.rate) if request.rate else 0.0,
        in_flight=request.in_flight,
        price_per_hour=request.price_per_hour,
        created_at=now,
        created_by=who(),
    )


async def _models(bus: Bus, given: Sequence[str], start: Start) -> dict[str, str]:
    if not given:
        return {}
    workers, found = await present_workers(bus), dict[str, str]()
    for text in given:
        task, model = _asked(text)
        if start == "recognized" and task != "token-classification":
            raise UsageError(f"--model {text}: from `recognized` nothing is read anew; say --from submitted.")
        found[task] = Names(task, workers).token(model)
    return found


def _asked(text: str) -> tuple[Task, str]:
    name, _, model = text.partition("=")
    for task in TASKS:
        if task == name and model:
            return task, model
    raise UsageError(f"--model {text}: say TASK=NAME with one of {', '.join(TASKS)}.")


async def _drive(
    bus: Bus, run: Run, driver: str, truth: TruthFolder | None, shown: Shown, out: Console, err: Console
) -> bool:
    book, run_id = ReplayBook(bus), run.spec.run_id
    if run.state.status == "cancelled":
        raise UsageError(f"Run {run_id} was cancelled; begin another one.")
    if run.state.status != "finished":
        err.print(f"run {run_id}; Ctrl-C pauses it, `billow replay resume {run_id}` goes on")
        try:
            with replay_view.progress(err) as show:
                state = await ReplayDriver(bus, run, driver=driver, progress=show).drive()
        except asyncio.CancelledError:
            err.print(f"Paused. Go on with `billow replay resume {run_id}`, or `billow replay cancel {run_id}`.")
            raise
        if state.status == "paused":
            err.print(f"Paused after {state.sent} of {state.planned}. Go on with `billow replay resume {run_id}`.")
            return True
        if state.status == "cancelled":
            await purge(bus, run.spec)
            err.print(f"Cancelled after {state.sent} of {state.planned}; what was worked out stays under the run.")
            return True
    with err.status("comparing with the records"):
        run = await book.get(run_id)
        report = await book.keep_report(await make_report(bus, run, truth))
    return await _end(bus, run, report, shown, out, err)


async def _end(bus: Bus, run: Run, report: ReplayReport, shown: Shown, out: Console, err: Console) -> bool:
    if shown.table:
        replay_view.show_report(report, run, out)
    else:
        out.file.write(codec.encode(report).decode() + "\n")
    promoted, _ = await ReplayBook(bus).promotion(run.spec.run_id)
    # Who only looks again at a run that was taken back does not make it official.
    if run.spec.into == "record" and (promoted is None or not promoted.undone):
        with err.status("making the results official"):
            result = await promote(bus, run)
        err.print(replay_view.promotion(run.spec.run_id, result, undone=False))
    elif shown.table or run.spec.into == "record":
        err.print(replay_view.standing(run.spec.run_id, promoted))
    return not report.failed and not report.unanswered and not run.state.refused
