"""What is pinned by a sha256: a file, or a folder as one."""

import hashlib
from collections.abc import Iterator
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes, or of everything in a folder.

    For a folder it is the digest of the list that `sha256sum` prints of its files, sorted by the bytes of their path:
    `cd FOLDER && find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum`. Names count,
    times and rights do not, empty folders neither.

    Raises:
        OSError: something cannot be read.
        ValueError: the folder holds something that is neither file nor folder (a link would escape the check), a name
            that `sha256sum` would print with escapes, or no file at all.
    """
    if not path.is_dir():
        return _digest(path)
    files = {file.relative_to(path).as_posix(): file for file in _files(path)}
    if not files:
        raise ValueError("the folder is empty")
    listed = hashlib.sha256()
    for name in sorted(files, key=lambda name: name.encode()):
        listed.update(f"{_digest(files[name])}  {name}\n".encode())
    return listed.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ValueError(f"{path} is neither a file nor a folder")
        if any(character in path.name for character in "\\\n\r"):
            raise ValueError(f"{str(path)!r} has a name with a backslash or a line break")
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
