"""`billow erase`: what it can be told; the work is in `commands.erase`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from billow.cli.commands import erase as erase_command
from billow.cli.console import Format, FormatOption, as_table, err, out, run
from billow.cli.moments import moment
from billow.cli.settings import CliSettings


def erase(
    document: Annotated[
        str, typer.Option(metavar="ID", help="One document, all its revisions.", show_default=False)
    ] = "",
    tenant: Annotated[
        str,
        typer.Option(
            help="Everything of this tenant; with --document or --older-than only that. Names no default.",
            show_default=False,
        ),
    ] = "",
    older_than: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="What was submitted before: 90d, 12h ago, or 2026-03-14. Of all tenants without --tenant.",
            show_default=False,
        ),
    ] = "",
    expired: Annotated[
        bool, typer.Option("--expired", help="What is older than the retention in its tenant's policy, now.")
    ] = False,
    reason: Annotated[
        str, typer.Option(help="For an auditor, e.g. a ticket. Stays; name no person.", show_default=False)
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count only; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Annotated[float, typer.Option(min=1, help="Seconds without progress until it is left to itself.")] = 60,
    format_: FormatOption = Format.auto,
) -> None:
    """Erase documents: events, images, records, dead letters, runs, and what models made of them.

    What counts is the event `erased`, which is stated first and stays; the receipt service does the rest, also when
    this command is gone. The same id submitted afterwards is a new document. Of one document the bytes are overwritten
    on disk; larger erasures leave them in the server's files until it compacts these.

    Prints what was removed. Exit code 1 where it is stated and not done yet.

    Examples: [cyan]billow erase --document 4f1c --reason 'ticket 4711'[/]   [cyan]billow erase --tenant acme[/]
    [cyan]billow erase --older-than 90d --dry-run[/]   [cyan]billow erase --expired --yes[/]
    """
    scope = bool(document), bool(older_than), expired
    if sum(scope) > 1 or not (any(scope) or tenant) or (expired and tenant):
        raise typer.BadParameter("say what: --document ID, --tenant T, --older-than TIME, or --expired")

    async def work() -> bool:
        settings = CliSettings.from_environment()
        what = erase_command.What(
            document=document,
            tenant=tenant or (settings.tenant if document else ""),
            before=moment(older_than, "--older-than", datetime.now(UTC)) if older_than else None,
            expired=expired,
            reason=reason,
        )
        if dry_run:
            await erase_command.preview(what, as_table(format_), out, err)
            return True
        return await erase_command.erase(what, ask=not yes, wait=wait, table=as_table(format_), out=out, err=err)

    run(work())
