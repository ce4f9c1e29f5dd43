# pyright: reportUnknownMemberType=false
"""Taking a backup, stream by stream; what was begun goes on where it was."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from billow.bus.backup.book import FILE, BackupError, Book, Consumer, Entry, read_book, sync_folder, write_book
from billow.bus.backup.choice import chosen
from billow.bus.backup.snapshot import Progress, save
from billow.bus.connection import Bus
from billow.bus.planning.server import Server
from billow.runtime.errors import TransientError, UsageError

_ATTEMPTS = 3
"""At one stream, whose leader may go in the middle."""

log = structlog.get_logger()


async def take(bus: Bus, folder: Path, progress: Progress = lambda _stream, _bytes: None) -> Book:
    """Copy all streams that are not made again (`REMADE`) into a folder, while everything runs.

    A folder whose backup was interrupted is gone on with: streams that are whole stay. After the end, and after each
    stream, all that is named in `backup.json` is whole and on the disk.

    Raises:
        UsageError: the folder holds a whole backup already, or something else.
        BackupError: the folder cannot be written, or is full.
        TransientError: the server does not answer, or stopped several times half-way. The same call again goes on.
        PermanentError: it refuses.
    """
    with _writing(folder):
        book = await asyncio.to_thread(_begun, folder) or await _begin(bus, folder)
        for name in book.missing:
            entry = await _take(bus, folder, name, progress)
            book = msgspec.structs.replace(book, streams=(*book.streams, entry))
            await asyncio.to_thread(write_book, folder, book)
        book = msgspec.structs.replace(book, ended=datetime.now(UTC))
        await asyncio.to_thread(write_book, folder, book)
    return book


def _begun(folder: Path) -> Book | None:
    """The interrupted backup in the folder, None for a folder that is new or empty."""
    # Originals of all tenants lie here: nobody else's business.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Of a backup that is ours, or of a crash before it had a book: never other people's files.
    for partial in folder.glob("*.partial" if (folder / FILE).exists() else f"{FILE}.partial"):
        partial.unlink()
    if (folder / FILE).exists():
        book = read_book(folder)
        if book.ended is not None:
            raise UsageError(f"{folder} holds a whole backup of {book.ended:%Y-%m-%d %H:%M} UTC. Name a new folder.")
        return book
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no backup. Name a new folder.")
    return None


async def _begin(bus: Bus, folder: Path) -> Book:
    """Note what there is and how far all consumers are, before anything is copied."""
    server = Server(bus)
    names = chosen(await server.streams())
    if not names:
        raise UsageError("There are no streams of Billow at this server; is BILLOW_NATS_DOMAIN right?")
    consumers = {name: await _consumers(server, name) for name in names}
    version = bus.client.connected_server_version
    book = Book(
        begun=datetime.now(UTC),
        server=f"{version.major}.{version.minor}.{version.patch}",
        wanted=tuple(names),
        consumers=consumers,
    )
    await asyncio.to_thread(write_book, folder, book)
    return book


async def _consumers(server: Server, stream: str) -> tuple[Consumer, ...]:
    found = await server.consumers(stream)
    return tuple(
        Consumer(config=each["config"], settled=int(each["ack_floor"]["stream_seq"]))
        for each in found
        if each["config"].get("durable_name")
    )


async def _take(bus: Bus, folder: Path, name: str, progress: Progress) -> Entry:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return await _try(bus, folder, name, progress)
        except TransientError as e:
            if attempt == _ATTEMPTS:
                raise
            log.warning("the snapshot stopped and is begun again", stream=name, reason=str(e))
            await asyncio.sleep(e.delay)
    raise AssertionError("unreachable")


async def _try(bus: Bus, folder: Path, name: str, progress: Progress) -> Entry:
    taken = datetime.now(UTC)
    async with _partial(folder / f"{name}.partial") as path:
        answer, size, sha256 = await save(bus, name, path, progress)
        state = answer["state"]
        entry = Entry(
            name=name,
            config=answer["config"],
            messages=state["messages"],
            first_seq=state["first_seq"],
            last_seq=state["last_seq"],
            size=size,
            sha256=sha256,
            taken=taken,
        )
        await asyncio.to_thread(path.replace, folder / entry.file)
        await asyncio.to_thread(sync_folder, folder)
    return entry


@contextlib.asynccontextmanager
async def _partial(path: Path) -> AsyncGenerator[Path]:
    """A file that is gone afterwards, unless it was given another name."""
    try:
        yield path
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)


@contextlib.contextmanager
def _writing(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as e:
        raise BackupError(f"{folder} cannot be written: {e.strerror}. Make room, or choose another folder.") from e
