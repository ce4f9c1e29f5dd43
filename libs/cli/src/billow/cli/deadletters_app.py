"""`billow deadletters ...`: what could not be processed; one function a command, the work is in `commands`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from billow.bus.deadletter_shelf import Query
from billow.cli.commands import deadletters as commands
from billow.cli.commands.deadletters import Selection
from billow.cli.console import Format, FormatOption, as_table, err, out, run
from billow.cli.moments import moment

app = typer.Typer(
    help="Dead letters: what could not be processed, why, and how to send it again.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done, 1 something was refused or is not there, 2 wrong usage, 3 no stack to be reached.",
)

Reason = Annotated[str, typer.Option(metavar="CODE", help="Only of this reason, as `list` shows it.")]
Service = Annotated[str, typer.Option(help="Only what this service gave up: ocr, layout, receipt or worker.")]
EventOption = Annotated[str, typer.Option(help="Only this event, as submitted; of models' work the task.")]
Tenant = Annotated[str, typer.Option(help="Only of this tenant.", show_default="all")]
Document = Annotated[str, typer.Option(metavar="ID", help="Only about this document.")]
OlderThan = Annotated[str, typer.Option(metavar="TIME", help="Only what died before: 2h, 3d ago, or 2026-03-14.")]
NewerThan = Annotated[str, typer.Option(metavar="TIME", help="Only what died since: 2h, 3d ago, or 2026-03-14.")]
_LAST = 2**63 - 1
Sequences = Annotated[
    list[int] | None, typer.Argument(metavar="[SEQ]...", min=1, max=_LAST, help="Letters, as `list` numbers them.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Every letter.")]


def _query(
    reason: str, service: str, event: str, tenant: str, document: str, older_than: str, newer_than: str
) -> Query:
    now = datetime.now(UTC)
    return Query(
        code=reason or None,
        service=service or None,
        event=event or None,
        tenant=tenant or None,
        document_id=document or None,
        since=moment(newer_than, "--newer-than", now) if newer_than else None,
        until=moment(older_than, "--older-than", now) if older_than else None,
    )


def _selection(sequences: list[int] | None, query: Query, every: bool, limit: int | None = None) -> Selection:
    ways = sum((bool(sequences), query != Query(), every))
    if ways != 1:
        raise typer.BadParameter("say which letters: their numbers, or filters such as --reason, or --all")
    return Selection(tuple(sequences or ()), query, limit)


@app.command("list")
def list_(
    reason: Reason = "",
    service: Service = "",
    event: EventOption = "",
    tenant: Tenant = "",
    document: Document = "",
    older_than: OlderThan = "",
    newer_than: NewerThan = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")] = 50,
    format_: FormatOption = Format.auto,
) -> None:
    """List what could not be processed, the newest first.

    Examples: [cyan]billow deadletters list --reason image_missing --newer-than 2h[/]
    [cyan]billow deadletters list --limit 0 --format jsonl | jq .document_id[/]
    """

    async def work() -> None:
        query = _query(reason, service, event, tenant, document, older_than, newer_than)
        await commands.list_letters(query, limit, as_table(format_), out)

    run(work())


@app.command()
def show(
    sequence: Annotated[
        int, typer.Argument(metavar="SEQ", min=1, max=_LAST, help="Number of a letter, as `list` shows it.")
    ],
    raw: Annotated[bool, typer.Option("--raw", help="Print the payload alone, byte by byte.")] = False,
    format_: FormatOption = Format.auto,
) -> None:
    """Show all of one letter: the message, its headers, the reason, the traceback.

    Examples: [cyan]billow deadletters show 17[/]   [cyan]billow deadletters show 17 --raw > event.json[/]
    """
    run(commands.show(sequence, raw, as_table(format_), out, err))


@app.command()
def redrive(
    sequences: Sequences = None,
    reason: Reason = "",
    service: Service = "",
    event: EventOption = "",
    tenant: Tenant = "",
    document: Document = "",
    older_than: OlderThan = "",
    newer_than: NewerThan = "",
    every: AllOption = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the oldest first.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which.")] = False,
    format_: FormatOption = Format.auto,
) -> None:
    """Send messages again where they were published, as they were; a document that had failed may then complete.

    A letter is removed once the server has its message, so it is safe to repeat, also after a crash. Letters of
    documents that completed meanwhile are only removed. What dies again is a new letter. Mend the cause first.

    Examples: [cyan]billow deadletters redrive 17 18[/]
    [cyan]billow deadletters redrive --reason too_many_deliveries --newer-than 1d --dry-run[/]
    """

    async def work() -> bool:
        query = _query(reason, service, event, tenant, document, older_than, newer_than)
        chosen = _selection(sequences, query, every, limit)
        return await commands.redrive_letters(chosen, dry_run, as_table(format_), out, err)

    run(work())


@app.command()
def purge(
    sequences: Sequences = None,
    reason: Reason = "",
    service: Service = "",
    event: EventOption = "",
    tenant: Tenant = "",
    document: Document = "",
    older_than: OlderThan = "",
    newer_than: NewerThan = "",
    every: AllOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Really do it; without it only the count is shown.")] = False,
) -> None:
    """Take letters away for good. The failed records that they led to stay.

    A letter whose failure the receipt service has not recorded yet is kept.

    Example: [cyan]billow deadletters purge --older-than 30d --yes[/]
    """

    async def work() -> bool:
        query = _query(reason, service, event, tenant, document, older_than, newer_than)
        return await commands.purge(_selection(sequences, query, every), yes, out, err)

    run(work())
