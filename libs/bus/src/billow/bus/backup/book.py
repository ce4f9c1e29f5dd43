"""What a backup holds: `backup.json` in its folder, written anew after each stream."""

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from billow.runtime.errors import BillowError, UsageError

FILE = "backup.json"
VERSION = 1


class BackupError(BillowError):
    """A backup cannot be made, or cannot be used. What was there before is as it was."""


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """A durable consumer, and how far it was."""

    config: dict[str, Any]
    """As the server has it."""
    settled: int
    """Stream sequence up to which every message had its outcome when the backup began."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One stream in the folder."""

    name: str
    config: dict[str, Any]
    """As the server has it."""
    messages: int
    first_seq: int
    last_seq: int
    size: int
    """bytes of its file"""
    sha256: str
    """hex, of its file"""
    taken: datetime

    @property
    def file(self) -> str:
        """Name in the folder."""
        return f"{self.name}.snapshot"


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """All of a backup."""

    version: int = VERSION
    begun: datetime
    ended: datetime | None = None
    """None while streams are missing."""
    server: str
    """version of nats-server"""
    wanted: tuple[str, ...]
    """Streams, in the order in which they are copied."""
    consumers: dict[str, tuple[Consumer, ...]]
    """Of each stream, as they were when the backup began."""
    streams: tuple[Entry, ...] = ()
    """Those that are whole."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Streams that are still to be copied."""
        there = {entry.name for entry in self.streams}
        return tuple(name for name in self.wanted if name not in there)


def read_book(folder: Path) -> Book:
    """What the folder holds. Blocks.

    Raises:
        UsageError: it is no backup, or one of a newer version.
    """
    path = folder / FILE
    try:
        book = msgspec.json.decode(path.read_bytes(), type=Book)
    except OSError as e:
        raise UsageError(f"{folder} holds no backup: {FILE} cannot be read ({e.strerror}).") from e
    except msgspec.DecodeError as e:
        raise UsageError(f"{path} cannot be read: {e}. Take another backup.") from e
    if book.version > VERSION:
        raise UsageError(f"{path} was written by a newer version of Billow; use that one, or a newer one.")
    return book


def write_book(folder: Path, book: Book) -> None:
    """Write it in one step: a crash leaves the old one or the new one. Blocks.

    Raises:
        OSError: it cannot be written.
    """
    partial = folder / f"{FILE}.partial"
    with partial.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(book), indent=1) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / FILE)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """So that names in it outlive a power cut. Blocks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
