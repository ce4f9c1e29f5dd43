"""Which files a user means."""

from collections.abc import Iterable, Iterator
from pathlib import Path

SUPPORTED_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".pdf"})
"""What a folder is searched for; a file named by itself is taken whatever it is called."""


def documents(paths: Iterable[Path]) -> Iterator[Path]:
    """The files meant by `paths` in the order given; a folder yields every supported file below it, sorted.

    A path that is not there is yielded too: the record of it will say so.
    """
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file for file in path.rglob("*") if file.suffix.lower() in SUPPORTED_SUFFIXES and file.is_file()
            )
        else:
            yield path
