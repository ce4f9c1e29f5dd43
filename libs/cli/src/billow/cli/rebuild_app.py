"""`billow rebuild`: the database from the stream."""

from typing import Annotated

import typer

from billow.cli.console import Format, FormatOption, as_table, err, out, run


def rebuild(
    database_url: Annotated[
        str,
        typer.Option(
            help="An empty database to build into, e.g. sqlite+aiosqlite:///new.db.", show_default="beside the old one"
        ),
    ] = "",
    compare: Annotated[
        str,
        typer.Option(help="The database in use. [BILLOW_DATABASE_URL]", show_default="that of `billow up`"),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Then make the database in use what was rebuilt, in one transaction.")
    ] = False,
    keep_older: Annotated[
        bool, typer.Option("--keep-older", help="With --replace: keep rows that are older than the stream.")
    ] = False,
    drop_older: Annotated[
        bool, typer.Option("--drop-older", help="With --replace: give up rows that are older than the stream.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="With --replace: also where the two are not equal.")] = False,
    since: Annotated[
        str,
        typer.Option(help="Only what was told since: 2d, 12h, or 2026-03-14T12:30Z.", show_default="all there is"),
    ] = "",
    format_: FormatOption = Format.auto,
) -> None:
    """Make the database anew from the stream, and prove it equal to the one in use.

    Builds beside it (SQLite: a file; PostgreSQL: the schema billow_rebuild), then compares row by row over the time
    that the stream holds. Nothing in use is touched without --replace, services may run meanwhile, and it may be
    interrupted and repeated. Exits with 0 when proven equal or replaced, and 1 when not.

    Examples: [cyan]billow rebuild[/]   [cyan]billow rebuild --replace --keep-older --force[/]
    """
    # Only here: the database's libraries take seconds to import, and no other command needs them.
    from billow.cli.commands import rebuild as rebuild_command

    options = rebuild_command.Options(database_url, compare, replace, keep_older, drop_older, force, since)
    run(rebuild_command.run(options, table=as_table(format_), out=out, err=err))
