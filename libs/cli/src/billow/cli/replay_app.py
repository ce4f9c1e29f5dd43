"""`billow replay ...`: one function a command, with its own module in `billow.cli.commands`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from billow.cli.commands import replay as replay_command
from billow.cli.commands import replay_runs
from billow.cli.commands.replay import Request, Shown, read_documents
from billow.cli.console import Format, FormatOption, as_table, err, out, run

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 all completed, 1 some document failed or was left, 2 wrong usage, 3 no stack to be reached.",
)


class StartOption(StrEnum):
    """The event that is sent again."""

    submitted = "submitted"
    recognized = "recognized"


class IntoOption(StrEnum):
    """Where the results go."""

    run = "run"
    record = "record"


class KindOption(StrEnum):
    """What a document is."""

    receipt = "receipt"
    invoice = "invoice"


RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="As `billow replay list` names it.")]
Documents = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Only these: one document id a line, - for standard input.")
]
TruthOption = Annotated[
    Path | None,
    typer.Option(
        "--truth",
        metavar="FOLDER",
        help="Labels to tell accuracy before and after: DOCUMENT.json or SOURCE-STEM.json with field and value, or a "
        "truth.jsonl.",
    ),
]


@app.callback()
def start(
    context: typer.Context,
    from_: Annotated[
        StartOption | None,
        typer.Option("--from", help="submitted: all anew; recognized: without reading again.", show_default=False),
    ] = None,
    since: Annotated[str, typer.Option(help="2d, 12h, 30m ago, or 2026-03-14T12:30Z.", show_default="all")] = "",
    until: Annotated[str, typer.Option(help="The same.", show_default="now")] = "",
    kind: Annotated[KindOption | None, typer.Option(help="Only documents of this kind.", show_default=False)] = None,
    tenant: Annotated[str, typer.Option(help="Only of this tenant.", show_default="all")] = "",
    documents: Documents = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="TASK=NAME", help="Ask this model, whatever the route says. Once for each task."),
    ] = None,
    into: Annotated[IntoOption, typer.Option(help="record: make official at the end what completed.")] = IntoOption.run,
    rate: Annotated[str, typer.Option(metavar="N/s", help="At most so many documents.", show_default="no limit")] = "",
    in_flight: Annotated[int, typer.Option(min=1, help="Documents on their way at once.")] = 1_000,
    truth: TruthOption = None,
    price_per_hour: Annotated[float, typer.Option(min=0, help="Of model time, to tell the cost.")] = 0.0,
    run_id: Annotated[str, typer.Option(help="Name of the run; the same again goes on.", show_default="the time")] = "",
    format_: FormatOption = Format.auto,
) -> None:
    """Send history again under a run, and say what would be different from the records.

    Takes the newest revision of each document in the range, without those that were cancelled, and sends it on the bulk
    lane under a run of its own. The records stay as they are; at the end a report says per field what appeared,
    vanished and changed. It may be killed at any time and goes on by `resume`; nothing is sent twice.

    Examples: [cyan]billow replay --since 2d --from recognized --model token-classification=rules[/]
    [cyan]billow replay --from submitted --kind receipt --rate 5/s --truth labels/[/]
    """
    if context.invoked_subcommand is not None:
        return
    if from_ is None:
        raise typer.BadParameter("say --from submitted (read anew) or --from recognized (only label anew)")
    request = Request(
        start=from_.value,
        since=since,
        until=until,
        kind=kind.value if kind else None,
        tenant=tenant,
        documents=documents,
        models=tuple(model or ()),
        into=into.value,
        rate=rate,
        in_flight=in_flight,
        price_per_hour=price_per_hour,
        run_id=run_id,
    )
    run(replay_command.start(request, Shown(truth=truth, table=as_table(format_)), out, err))


@app.command()
def resume(run_id: RunArgument, truth: TruthOption = None, format_: FormatOption = Format.auto) -> None:
    """Go on with a run that was paused or broke off; one that is finished is compared anew."""
    run(replay_command.resume(run_id, Shown(truth=truth, table=as_table(format_)), out, err))


@app.command()
def pause(run_id: RunArgument) -> None:
    """Send nothing more for now; what was sent is still worked on."""
    run(replay_runs.pause(run_id, err))


@app.command()
def cancel(run_id: RunArgument) -> None:
    """End a run for good: what no service has begun is taken out. Results that are there stay under the run."""
    run(replay_runs.cancel(run_id, err))


@app.command("list")
def list_(format_: FormatOption = Format.auto) -> None:
    """Show all runs and how far they are."""
    run(replay_runs.list_(table=as_table(format_), out=out))


@app.command()
def show(run_id: RunArgument, format_: FormatOption = Format.auto) -> None:
    """Show one run, and its report if it is finished."""
    run(replay_runs.show(run_id, table=as_table(format_), out=out))


@app.command()
def promote(
    run_id: RunArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back the records that were official before.")] = False,
    documents: Documents = None,
    format_: FormatOption = Format.auto,
) -> None:
    """Make the completed results of a run official, as new events; again changes nothing.

    --undo leaves alone what was promoted or changed since, says which, and exits with 1 then.
    """
    wanted = read_documents(documents)
    run(replay_runs.promote(run_id, wanted, undo=undo, table=as_table(format_), out=out, err=err))
