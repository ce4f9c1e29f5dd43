"""`billow watch` and `billow events`: what happens to documents, live and as history."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from billow.cli.commands import events as events_command
from billow.cli.commands import watch as watch_command
from billow.cli.console import Format, FormatOption, as_table, err, out, run
from billow.cli.moments import moment
from billow.cli.settings import CliSettings
from billow.schemas.tokens import check_token


class KindOption(StrEnum):
    """An event, by its name in subjects."""

    submitted = "submitted"
    recognized = "recognized"
    analyzed = "analyzed"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"
    promoted = "promoted"
    erased = "erased"


Tenant = Annotated[str | None, typer.Option(help="Whose documents these are. [BILLOW_TENANT]", show_default=False)]


def watch(
    document_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[DOCUMENT_ID]...", help="What `billow submit` printed.")
    ] = None,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="Without ids: what moved since, 10m or 2h ago, or 2026-03-14T12:30Z.")
    ] = "10m",
    once: Annotated[bool, typer.Option("--once", help="Show how it is now, and end.")] = False,
    format_: FormatOption = Format.auto,
    tenant: Tenant = None,
) -> None:
    """Watch documents move through ocr, layout and receipt, with the seconds that each stage takes.

    With ids it ends when all of them have ended, and exits with 1 unless all completed; else Ctrl-C ends it. Piped, it
    prints a line of JSON for each step.

    Examples: [cyan]billow watch[/]   [cyan]billow submit scans/ | cut -f1 | xargs billow watch[/]
    """

    async def work() -> bool:
        settings = CliSettings.from_environment()
        options = watch_command.Options(
            document_ids=tuple(dict.fromkeys(document_ids or ())),
            since=moment(since, "--since", datetime.now(UTC)),
            once=once,
            as_table=as_table(format_),
            tenant=check_token(tenant or settings.tenant, "tenant"),
        )
        return await watch_command.run(options, settings, out, err)

    run(work())


def events(
    document_id: Annotated[str | None, typer.Argument(help="Only of this document.", show_default="all")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Not what was before: 2h, 3d ago, or 2026-03-14.", show_default="all"),
    ] = None,
    kind: Annotated[
        list[KindOption] | None, typer.Option(help="Only these events. Once for each.", show_default="all")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes: of a document until it has ended.")
    ] = False,
    format_: FormatOption = Format.auto,
    tenant: Tenant = None,
) -> None:
    """Print the events of a document, or of all of the tenant, the oldest first.

    On a terminal a line each, else the whole events as JSON lines. With --follow and neither id nor --since, only
    what comes from now on.

    Examples: [cyan]billow events doc-1[/]   [cyan]billow events --since 2h --kind failed > failed.jsonl[/]
    """

    async def work() -> bool:
        settings = CliSettings.from_environment()
        options = events_command.Options(
            document_id=document_id,
            since=moment(since, "--since", datetime.now(UTC)) if since else None,
            kinds=tuple(each.value for each in kind or ()),
            follow=follow,
            as_table=as_table(format_),
            tenant=check_token(tenant or settings.tenant, "tenant"),
        )
        return await events_command.run(options, settings, out, err)

    run(work())
