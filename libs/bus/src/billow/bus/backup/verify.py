"""Whether the files of a backup are what was written."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from billow.bus.backup.book import BackupError, Entry

_BLOCK = 1024 * 1024


def verify(folder: Path, entries: Sequence[Entry]) -> None:
    """Read all files of these streams. Blocks.

    Raises:
        BackupError: one is missing or not as it was written; it names all of them.
    """
    bad = [reason for entry in entries if (reason := _fault(folder / entry.file, entry))]
    if bad:
        raise BackupError(
            f"The backup in {folder} is damaged and nothing was restored: {'; '.join(bad)}. Use another backup, or "
            "name the streams that are whole with --stream."
        )


def _fault(path: Path, entry: Entry) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
            size = file.tell()
    except OSError as e:
        return f"{path.name} cannot be read ({e.strerror})"
    if size != entry.size:
        return f"{path.name} has {size:,} bytes, not {entry.size:,}"
    return "" if digest.hexdigest() == entry.sha256 else f"{path.name} is not what was written"
