"""`billow topology ...`: the streams, consumers and buckets of a site, and what is made from their declaration."""

from pathlib import Path
from typing import Annotated

import typer

from billow.bus.planning.configs import Site
from billow.cli.commands import topology as topology_commands
from billow.cli.commands import topology_export
from billow.cli.console import Format, FormatOption, as_table, err, exit_with, out, run
from billow.runtime.settings import ProcessSettings, load

app = typer.Typer(
    help="Streams, consumers and buckets: what is declared, what the server has, and what others need to know.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog="Services make what is missing when they start and change nothing that is there; `apply` does.",
)
export = typer.Typer(
    help="Print what others need: made from the same declaration as the streams.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(export, name="export")

Replicas = Annotated[
    int | None,
    typer.Option(min=1, max=5, help="Copies of each stream; what is there stays without it. [BILLOW_REPLICAS]"),
]
Cluster = Annotated[str, typer.Option(help="Cluster that holds the streams.", show_default="where they are")]
Tags = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Tag that a server must have to hold a stream. Once for each.", show_default="any"),
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="File to write.", show_default="the terminal")]


def _site(replicas: int | None, cluster: str, tags: list[str] | None) -> Site:
    copies = load(ProcessSettings).replicas if replicas is None else replicas
    return Site(replicas=copies, cluster=cluster, tags=tuple(tags or ()))


@app.command()
def plan(
    replicas: Replicas = None,
    cluster: Cluster = "",
    tag: Tags = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if anything differs.")] = False,
    format_: FormatOption = Format.auto,
) -> None:
    """Show what [cyan]apply[/] would change at the server. Changes nothing.

    Ours are the declared names, the buckets IMAGES_<tenant>, the consumers of models, and what carries our mark in its
    metadata. Everything else on the server is left alone.

    Examples: [cyan]billow topology plan[/]   [cyan]billow topology plan --replicas 3 --check[/]
    """

    async def work() -> bool:
        site = _site(replicas, cluster, tag)
        return await topology_commands.plan(site, check=check, table=as_table(format_), out=out)

    run(work())


@app.command()
def apply(
    replicas: Replicas = None,
    cluster: Cluster = "",
    tag: Tags = None,
    allow_destructive: Annotated[
        bool,
        typer.Option(
            "--allow-destructive",
            help="Also delete what is not declared any more, cut below what is held, and make anew what cannot change.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Make the server's streams, consumers and buckets what is declared. Doing it again changes nothing.

    Consumers keep their place in the stream, also when they are made anew. What would destroy something is refused
    without --allow-destructive, and then nothing at all is changed.

    Examples: [cyan]billow topology apply --replicas 3[/]   [cyan]billow topology apply --yes[/]
    """

    async def work() -> None:
        site = _site(replicas, cluster, tag)
        await topology_commands.apply(site, allow_destructive=allow_destructive, sure=yes, out=out, err=err)

    run(work())


@export.command()
def asyncapi(output: Output = None) -> None:
    """The AsyncAPI 3 document: channels, operations, messages and their schemas, as JSON."""
    exit_with(lambda: topology_export.write(topology_export.asyncapi(), output))


@export.command()
def catalogue(output: Output = None) -> None:
    """The event catalogue for people, as Markdown; docs/events.md is this."""
    exit_with(lambda: topology_export.write(topology_export.catalogue_page(), output))


@export.command()
def consumers(output: Output = None) -> None:
    """The consumers to scale by, as JSON: stream, durable, service; those of a model as a template with {model}."""
    exit_with(lambda: topology_export.write(topology_export.consumers(), output))


@export.command()
def permissions(
    output: Output = None,
    tenant: Annotated[
        list[str] | None, typer.Option(help="Whose backends get a user. Once for each.", show_default="default")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model whose workers get a user. Once for each.", show_default="the three default ones"),
    ] = None,
    site: Annotated[
        list[str] | None,
        typer.Option(help="Workstation site whose leaf node gets a user for these models.", show_default="none"),
    ] = None,
    domain: Annotated[str, typer.Option(help="JetStream domain of the hub.", show_default="none")] = "",
) -> None:
    """The users of NATS with the least rights each needs, as a file that nats-server's configuration includes.

    Passwords are not in it: nats-server takes them from its environment, BILLOW_PASSWORD_<USER>.

    Examples: [cyan]billow topology export permissions --domain hub --site desk -o users.conf[/]
    """
    users = topology_export.Users(
        tenants=tuple(tenant or ("default",)),
        models=tuple(model or ()),
        sites=tuple(site or ()),
        domain=domain,
    )
    exit_with(lambda: topology_export.write(topology_export.permissions(users), output))
