"""Where a document comes from: bytes, a file, something that can be read, a URL. Never more than is allowed."""

import asyncio
import inspect
import os
from collections.abc import AsyncIterable, Awaitable
from pathlib import Path
from typing import NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from billow.client.size import check_size
from billow.client.url import UrlRules, fetch

_PART = 256 * 1024
_LONGEST_NAME = 1024
"""Characters of `source` in an event."""


class Readable(Protocol):
    """A file object; `read` may be a coroutine function, as that of an uploaded file in a web framework."""

    def read(self, size: int = ..., /) -> bytes | Awaitable[bytes]: ...


Document = bytes | bytearray | memoryview | str | Path | Readable | AsyncIterable[bytes]
"""What can be handed in. A `str` that begins with `http://` or `https://` is a URL, any other one a path; so never pass
on a `str` that a stranger chose."""


class Original(NamedTuple):
    """A document, read."""

    data: bytes
    name: str
    """What to call it if nobody says; empty if it has no name of its own."""


async def read(document: Document, *, max_bytes: int, url_rules: UrlRules) -> Original:
    """Read all of it, once; files on a thread.

    Raises:
        PermanentError: `file_too_large`, or what `fetch` raises for a URL.
        TransientError: as `fetch`, for a URL.
        OSError: a file cannot be read.
        TypeError: it is nothing that can be read.
    """
    match document:
        case bytes() | bytearray() | memoryview():
            check_size(len(memoryview(document).cast("B")), max_bytes)
            return Original(bytes(document), "")
        case str() if is_url(document):
            return Original(await fetch(document, max_bytes=max_bytes, rules=url_rules), _url_name(document))
        case str() | Path():
            data = await asyncio.to_thread(_read_file, Path(document), max_bytes)
            return Original(data, source_of(Path(document)))
        case AsyncIterable():
            parts = [part async for part in _limited(document, max_bytes)]
            return Original(b"".join(parts), "")
        case _ if callable(getattr(document, "read", None)):
            return Original(await _read_stream(document, max_bytes), _file_name(document))
        case _:
            raise TypeError(
                f"{type(document).__name__} is no document: hand in bytes, a path, a URL, or something to be read from"
            )


def source_of(path: Path) -> str:
    """What a file is called in events: what is no UTF-8 is replaced, and of a long path it is the end."""
    return os.fsencode(path).decode("utf-8", "replace")[-_LONGEST_NAME:]


def is_url(text: str) -> bool:
    """Whether it is fetched rather than opened."""
    return text[:8].lower().startswith(("http://", "https://"))


async def _limited(parts: AsyncIterable[bytes], max_bytes: int):
    size = 0
    async for part in parts:
        size += len(part)
        check_size(size, max_bytes)
        yield part


async def _read_stream(stream: Readable, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := await _part(stream):
        size += len(part)
        check_size(size, max_bytes)
        parts.append(part)
    return b"".join(parts)


async def _part(stream: Readable) -> bytes:
    if inspect.iscoroutinefunction(stream.read):
        part = await stream.read(_PART)
    else:
        part = await asyncio.to_thread(stream.read, _PART)
        if inspect.isawaitable(part):
            part = await part
    if not isinstance(part, bytes):
        raise TypeError("the file gives text: open it in binary mode, 'rb'")
    return part


def _read_file(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
        if len(data) > max_bytes:
            check_size(max(path.stat().st_size, len(data)), max_bytes)
    return data


def _file_name(stream: object) -> str:
    name = cast("object", getattr(stream, "filename", None) or getattr(stream, "name", None))
    return source_of(Path(name)) if isinstance(name, str) and name else ""


def _url_name(url: str) -> str:
    """Without what may be secret: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{parts.path}"[:_LONGEST_NAME]
