"""`billow tenants ...`: what each tenant may do, and how long we keep what is its."""

from typing import Annotated

import typer

from billow.cli.commands import tenants as tenant_commands
from billow.cli.console import Format, FormatOption, as_table, err, out, run

app = typer.Typer(
    help="Tenants: how fast they may submit, how much of theirs may wait, how long it is kept.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    epilog="Changes act at once, on all clients. A tenant without limits of its own needs none of these commands.",
)

TenantArgument = Annotated[str, typer.Argument(help="Name of the tenant.", show_default=False)]


@app.command("list")
def list_(format_: FormatOption = Format.auto) -> None:
    """Show all tenants that have limits of their own."""
    run(tenant_commands.show_all(out, table=as_table(format_)))


@app.command()
def show(tenant: TenantArgument, format_: FormatOption = Format.auto) -> None:
    """Show the limits of one tenant.

    Example: [cyan]billow tenants show acme[/]
    """
    run(tenant_commands.show(tenant, out, table=as_table(format_)))


@app.command("set")
def set_(
    tenant: TenantArgument,
    rate: Annotated[
        str | None,
        typer.Option(metavar="N/s", help="Documents in the long run, e.g. 5/s, 100/m, 2000/h; `none`: any number."),
    ] = None,
    burst: Annotated[
        str | None, typer.Option(metavar="N", help="Documents that may come at once; `none`: those of one second.")
    ] = None,
    backlog: Annotated[
        str | None,
        typer.Option(metavar="N", help="Documents that may wait for OCR; `none`: as many as of all."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Erase what is older, e.g. 12h, 30d, 8w; `none`: as long as the streams do."),
    ] = None,
    format_: FormatOption = Format.auto,
) -> None:
    """Change limits of a tenant; what is not named stays as it is. Who is over them is told when to come back.

    Examples: [cyan]billow tenants set acme --rate 5/s --burst 20[/]   [cyan]billow tenants set acme --keep 30d[/]
    [cyan]billow tenants set acme --rate none --burst none[/]
    """
    change = tenant_commands.Change(rate=rate, burst=burst, backlog=backlog, keep=keep)
    if change.is_empty:
        raise typer.BadParameter("say what is to be changed: --rate, --burst, --backlog or --keep")
    run(tenant_commands.change(tenant, change, out, err, table=as_table(format_)))
