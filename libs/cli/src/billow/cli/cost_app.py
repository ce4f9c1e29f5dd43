"""`billow cost`: what it can be told; the work is in `commands.cost`."""

from pathlib import Path
from typing import Annotated

import typer

from billow.cli.commands import cost as cost_command
from billow.cli.console import Format, FormatOption, as_table, exit_with, out


def cost(
    values: Annotated[
        Path, typer.Option("--values", "-f", help="TOML file with topology, prices and load.", show_default=False)
    ],
    format_: FormatOption = Format.auto,
) -> None:
    """Work out the monthly bill of a topology, the price per 1,000 documents, and whether it carries the load.

    Printed beside what the first system of this kind paid (297 USD a month) and beside a cloud GPU instance. All prices
    are values of the file, each with a date and a source; deploy/cost/ has examples to copy. Nothing is looked up, and
    no stack is needed.

    Exit code 1 where the topology cannot carry the load on average: its queue would grow for ever.

    Examples: [cyan]billow cost --values deploy/cost/hybrid.toml[/]   [cyan]billow cost -f mine.toml --format jsonl[/]
    """
    exit_with(lambda: cost_command.show(values, out, table=as_table(format_)))
