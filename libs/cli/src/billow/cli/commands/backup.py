"""`billow backup` and `billow restore`."""

import asyncio
import contextlib
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from billow.bus.backup import REMADE, Book, read_book, take, verify, wanted
from billow.bus.backup import restore as restore_streams
from billow.bus.backup.book import Entry
from billow.bus.backup.snapshot import Progress
from billow.cli.hub import connect


class Restoring(NamedTuple):
    """What `billow restore` was told."""

    streams: tuple[str, ...] = ()
    check: bool = False
    overwrite: bool = False
    replicas: int = 0


async def backup(folder: Path, *, table: bool, out: Console, err: Console) -> None:
    """Take a backup, or go on with one.

    Raises:
        StackUnreachableError: NATS does not answer.
        BillowError: as `billow.bus.backup.take`.
    """
    async with await connect("backup") as bus:
        with _progress(err) as progress:
            book = await take(bus, folder, progress)
    _show(book.streams, table=table, out=out)
    size = sum(entry.size for entry in book.streams)
    err.print(
        Text(
            f"{len(book.streams)} streams, {_size(size)} in {folder}. Left out, as they are made again: "
            f"{', '.join(sorted(REMADE))}. Back up the database too.",
            style="dim",
        )
    )


async def restore(folder: Path, options: Restoring, *, table: bool, out: Console, err: Console) -> None:
    """Check a backup, and make its streams anew.

    Raises:
        StackUnreachableError: NATS does not answer.
        BillowError: as `billow.bus.backup.restore`.
    """
    if options.check:
        book = await asyncio.to_thread(read_book, folder)
        entries = wanted(folder, book, options.streams)
        await asyncio.to_thread(verify, folder, entries)
        _show(entries, table=table, out=out)
        err.print(Text(_verdict(book), style="dim"))
        return
    async with await connect("restore") as bus:
        with _progress(err) as progress:
            done = await restore_streams(
                bus,
                folder,
                streams=options.streams,
                overwrite=options.overwrite,
                replicas=options.replicas,
                progress=progress,
            )
    lines = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("stream", "messages", "last", "consumers", "expired since"):
        lines.add_column(name, justify="left" if name == "stream" else "right")
    for each in done:
        row = (each.messages, each.last_seq, each.consumers, each.expired)
        lines.add_row(escape(each.name), *(f"{number:,}" for number in row))
        if not table:
            out.file.write(msgspec.json.encode(each).decode() + "\n")
    if table:
        out.print(lines)
    err.print(Text("Next: billow topology plan --check, billow rebuild, and start the services.", style="dim"))


def _verdict(book: Book) -> str:
    if book.ended is None:
        return f"All files are as written; the backup was not finished: {', '.join(book.missing)}."
    return f"All files are as written. Begun {book.begun:%Y-%m-%d %H:%M:%S} UTC, nats-server {book.server}."


def _show(entries: Sequence[Entry], *, table: bool, out: Console) -> None:
    lines = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in ("stream", "messages", "first", "last", "on disk"):
        lines.add_column(name, justify="left" if name == "stream" else "right")
    for entry in entries:
        row = (entry.messages, entry.first_seq, entry.last_seq)
        lines.add_row(escape(entry.name), *(f"{number:,}" for number in row), _size(entry.size))
        if not table:
            line = {"stream": entry.name, "messages": entry.messages, "size": entry.size, "sha256": entry.sha256}
            out.file.write(msgspec.json.encode(line).decode() + "\n")
    if table:
        out.print(lines)


@contextlib.contextmanager
def _progress(err: Console) -> Generator[Progress]:
    """On a terminal one line that changes, else one line a stream."""
    last = ""

    def told(stream: str, size: int) -> None:
        nonlocal last
        if err.is_terminal:
            status.update(Text(f"{stream} {_size(size)}"))
        elif stream != last:
            err.print(Text(stream, style="dim"))
        last = stream

    with err.status("") as status:
        yield told


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
