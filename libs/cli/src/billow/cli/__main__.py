"""The command line: parses, calls, and turns errors into exit codes."""

import sys
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from billow.cli import (
    backup_app,
    cost_app,
    deadletters_app,
    erase_app,
    events_app,
    models_app,
    rebuild_app,
    replay_app,
    tenants_app,
    topology_app,
    workstation_app,
)
from billow.cli.commands import documents as document_commands
from billow.cli.commands import extract as extract_command
from billow.cli.commands import up as up_command
from billow.cli.console import Format, FormatOption, as_table, err, out, run
from billow.cli.settings import CliSettings
from billow.schemas.tokens import check_token

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 all completed, 1 some document failed, 2 wrong usage, 3 no stack to be reached or started.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"billow {metadata.version('billow-cli')}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Receipts and invoices in, structured records out."""


app.add_typer(models_app.app, name="models")
app.add_typer(topology_app.app, name="topology")
app.add_typer(tenants_app.app, name="tenants")
app.add_typer(deadletters_app.app, name="deadletters")
app.add_typer(replay_app.app, name="replay")
app.add_typer(workstation_app.app, name="workstation")
app.command()(rebuild_app.rebuild)
app.command()(backup_app.backup)
app.command()(backup_app.restore)
app.command()(cost_app.cost)


class KindOption(StrEnum):
    """What a document is."""

    receipt = "receipt"
    invoice = "invoice"


class LaneOption(StrEnum):
    """Which queue a document takes."""

    interactive = "interactive"
    bulk = "bulk"


class LogLevel(StrEnum):
    """What services log, and all that is worse."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


Paths = Annotated[list[Path], typer.Argument(help="Photos (JPEG, PNG, WebP) and PDFs; a folder takes all below it.")]
Tenant = Annotated[str | None, typer.Option(help="Whose documents these are. [BILLOW_TENANT]", show_default=False)]
Kind = Annotated[KindOption | None, typer.Option(help="What the documents are, if you know.", show_default=False)]
Language = Annotated[str | None, typer.Option(help="ISO 639-1, if you know, e.g. en.", show_default=False)]


def _tenant(given: str | None, settings: CliSettings) -> str:
    return check_token(given or settings.tenant, "tenant")


@app.command()
def extract(
    paths: Paths,
    format_: FormatOption = Format.auto,
    kind: Kind = None,
    language: Language = None,
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Documents on their way at once.")] = 8,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for one document.")] = 600,
    tenant: Tenant = None,
    with_text: Annotated[
        bool, typer.Option("--with-text", help="Add the lines of text that were read, as `text_lines`.")
    ] = False,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model of the temporary stack, in place of the default one of its task. Once for each.",
            show_default="the three default ones",
        ),
    ] = None,
) -> None:
    """Read receipts and invoices: one record a document, in the order given.

    Uses the stack at BILLOW_NATS_URL, else starts a temporary one on this machine and stops it at the end.

    Examples: [cyan]billow extract lunch.jpg[/]   [cyan]billow extract scans/ > records.jsonl[/]
    """

    async def work() -> bool:
        settings = CliSettings.from_environment()
        options = extract_command.Options(
            table=as_table(format_),
            jobs=jobs,
            timeout=timeout,
            kind=kind.value if kind else None,
            language=language,
            tenant=_tenant(tenant, settings),
            with_text=with_text,
            models=tuple(model or ()),
        )
        return await extract_command.run(paths, options, settings, out, err)

    run(work())


@app.command()
def up(
    data: Annotated[
        Path | None,
        typer.Option(help="Folder for streams, database and logs. [BILLOW_DATA]", show_default="your data folder"),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of nats-server; 0 takes a free one.")] = 4222,
    model: Annotated[
        list[str] | None, typer.Option(help="Model to serve, once for each.", show_default="the three default ones")
    ] = None,
    log_level: Annotated[LogLevel, typer.Option(help="What the services write into their logs.")] = LogLevel.info,
) -> None:
    """Run the whole stack on this machine until Ctrl-C: nats-server, services, workers, SQLite."""
    settings = CliSettings.from_environment()
    folder = data or settings.data_folder()
    run(up_command.run(folder, port, tuple(model or ()), settings.tenant, log_level, err))


@app.command()
def submit(
    paths: Paths,
    kind: Kind = None,
    language: Language = None,
    lane: Annotated[LaneOption, typer.Option(help="bulk waits behind interactive.")] = LaneOption.interactive,
    id_: Annotated[
        str | None, typer.Option("--id", help="Document id for a single file; the same id twice is one document.")
    ] = None,
    tenant: Tenant = None,
) -> None:
    """Hand in documents to the stack at BILLOW_NATS_URL and print their ids, without waiting for the records."""
    if id_ is not None and len(paths) != 1:
        raise typer.BadParameter("--id goes with exactly one file")

    async def work() -> bool:
        settings = CliSettings.from_environment()
        return await document_commands.submit(
            paths,
            kind=kind.value if kind else None,
            language=language,
            lane=lane.value,
            document_id=id_,
            tenant=_tenant(tenant, settings),
            settings=settings,
            out=out,
            err=err,
        )

    run(work())


@app.command()
def get(
    document_id: Annotated[str, typer.Argument(help="What `billow submit` printed.")],
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the record.")] = 0,
    format_: FormatOption = Format.auto,
    tenant: Tenant = None,
) -> None:
    """Print the record of a document."""

    async def work() -> bool:
        settings = CliSettings.from_environment()
        return await document_commands.get(
            document_id,
            wait=wait,
            table=as_table(format_),
            tenant=_tenant(tenant, settings),
            settings=settings,
            out=out,
            err=err,
        )

    run(work())


@app.command()
def cancel(
    document_id: Annotated[str, typer.Argument(help="What `billow submit` printed.")],
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the record.", show_default=False)] = "",
    wait: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the record of it.")] = 10,
    format_: FormatOption = Format.auto,
    tenant: Tenant = None,
) -> None:
    """Take a document back: what is not done yet is not done any more.

    Prints the record that ended the document, and exits with 1 if it had ended before.
    """

    async def work() -> bool:
        settings = CliSettings.from_environment()
        return await document_commands.cancel(
            document_id,
            reason=reason,
            wait=wait,
            table=as_table(format_),
            tenant=_tenant(tenant, settings),
            settings=settings,
            out=out,
            err=err,
        )

    run(work())


app.command()(erase_app.erase)
app.command()(events_app.watch)
app.command()(events_app.events)


@app.command()
def worker(model: Annotated[str, typer.Argument(help="Name or token of a model; `billow models list`.")]) -> None:
    """Plug a model in: serve it from this machine until Ctrl-C plugs it out."""
    # Only here: all that a model needs takes long to import, and no other command needs it.
    from billow.services.worker import __main__ as worker_process

    raise typer.Exit(worker_process.main(model))


if __name__ == "__main__":
    app(prog_name="billow")
