"""`billow backup` and `billow restore`: the streams in a folder, and back."""

from pathlib import Path
from typing import Annotated

import typer

from billow.cli.commands import backup as backup_commands
from billow.cli.console import Format, FormatOption, as_table, err, out, run

Folder = Annotated[Path, typer.Argument(help="Folder of one backup.", show_default=False)]


def backup(folder: Folder, format_: FormatOption = Format.auto) -> None:
    """Copy all streams into a folder while everything runs: events, originals, dead letters, routes, tenants, replays.

    Each stream is a snapshot of the server's, with every message, its number and its headers, and a sha256. Queues of
    work and answers are left out: they are made again. A backup that was interrupted is gone on with by the same
    command. The database is backed up by its own tool; records can be made from the streams (billow rebuild).

    As user [cyan]backup[/] of users.conf, or operator. Exits with 0 when all streams are on the disk.

    Examples: [cyan]billow backup /backup/$(date +%F)[/]
    """
    run(backup_commands.backup(folder, table=as_table(format_), out=out, err=err))


def restore(
    folder: Folder,
    stream: Annotated[
        list[str] | None,
        typer.Option(help="Stream to restore, e.g. OBJ_IMAGES_acme. Once for each.", show_default="all of the backup"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only read the files and compare them with their sha256; needs no server.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also delete streams that hold something; what came since is lost.")
    ] = False,
    replicas: Annotated[int, typer.Option(min=0, max=5, help="Copies of each stream.", show_default="as they had")] = 0,
    format_: FormatOption = Format.auto,
) -> None:
    """Make the streams of a backup anew, every message at its number, and the consumers of the services.

    Stop the services and subscribers before. All files are checked before anything is changed, and streams that hold
    something are not touched without --overwrite. Services go on at what had no outcome when the backup began. Then run
    [cyan]billow topology plan --check[/] and [cyan]billow rebuild[/]. As user operator.

    Examples: [cyan]billow restore /backup/2026-03-14[/]   [cyan]billow restore /backup/2026-03-14 --check[/]
    """
    options = backup_commands.Restoring(tuple(stream or ()), check, overwrite, replicas)
    run(backup_commands.restore(folder, options, table=as_table(format_), out=out, err=err))
