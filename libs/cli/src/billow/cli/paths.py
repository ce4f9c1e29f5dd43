"""Which files a user means, and what is in them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from billow.client.sources import source_of
from billow.runtime.errors import UsageError

SUPPORTED_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".pdf"})
"""What a folder is searched for; a file named by itself is taken whatever it is called."""


def found_in(paths: Sequence[Path]) -> list[Path]:
    """The files meant by `paths`, as `documents` finds them.

    Raises:
        UsageError: there are none.
    """
    files = list(documents(paths))
    if not files:
        raise UsageError(
            f"No documents in {', '.join(map(source_of, paths))}: folders are searched for "
            f"{', '.join(sorted(SUPPORTED_SUFFIXES))}. A file that is named by itself is taken whatever it is called."
        )
    return files


def documents(paths: Iterable[Path]) -> Iterator[Path]:
    """The files meant by `paths` in the order given; a folder yields every supported file below it, sorted.

    What cannot be opened is yielded too, a folder as well: the record of it will say so.
    """
    for path in paths:
        # Unlike `Path.is_dir` this tells no error for a folder that may not be looked into.
        if os.path.isdir(path):  # noqa: PTH112
            yield from _below(path)
        else:
            yield path


def read(path: Path) -> bytes:
    """All of a file. A named pipe is read to its end; one that nobody writes to is empty, and not waited for.

    Raises:
        OSError: it cannot be opened or read.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        os.set_blocking(file.fileno(), True)
        return file.read()


def _below(folder: Path) -> list[Path]:
    found: list[Path] = []

    def note(error: OSError) -> None:
        found.append(Path(os.fsdecode(error.filename)))

    for place, _, names in os.walk(folder, onerror=note):
        files = (Path(place, name) for name in names)
        found += [file for file in files if file.suffix.lower() in SUPPORTED_SUFFIXES]
    return sorted(found)
