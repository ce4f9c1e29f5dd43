"""Where commands print, and how their errors become exit codes."""

import asyncio
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from billow.runtime.errors import BillowError, StackUnreachableError, UsageError
from billow.runtime.logs import configure_logs

EXIT_DOCUMENT_FAILED = 1
EXIT_WRONG_USAGE = 2
EXIT_UNREACHABLE = 3

out = Console(soft_wrap=False)
err = Console(stderr=True)


class Format(StrEnum):
    """How results are printed."""

    auto = "auto"
    jsonl = "jsonl"
    table = "table"


FormatOption = Annotated[Format, typer.Option("--format", help="auto: a table on a terminal, JSON lines when piped.")]


def as_table(format_: Format) -> bool:
    """Whether to print for people."""
    return format_ is Format.table or (format_ is Format.auto and out.is_terminal)


def run(work: Coroutine[Any, Any, bool | None]) -> None:
    """Run a command to its end and leave with the exit code that the help promises; False is 1."""
    configure_logs("cli", level="error", format="console")
    exit_with(lambda: asyncio.run(work))


def exit_with(work: Callable[[], bool | None]) -> None:
    """As `run`, for work that blocks."""
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
