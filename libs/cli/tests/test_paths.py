"""Which files a user means."""

import contextlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from billow.cli.paths import documents, read

NOBODY = 65534


def test_files_keep_their_order_and_folders_are_searched(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    for name in ("b.pdf", "a.JPG", "deep/c.webp", "notes.txt", ".DS_Store"):
        (folder / name).touch()
    odd = tmp_path / "photo.bin"
    odd.touch()
    gone = tmp_path / "gone.jpg"
    found = list(documents([odd, gone, folder]))
    assert found == [odd, gone, folder / "a.JPG", folder / "b.pdf", folder / "deep/c.webp"]


@contextlib.contextmanager
def as_nobody() -> Generator[None]:
    """Root may look everywhere. It holds for all threads of this process, so no stack may run in it meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_without_permission_is_not_passed_over(tmp_path: Path) -> None:
    above = [folder for folder in tmp_path.parents if Path(tempfile.gettempdir()) in folder.parents]
    for folder in (tmp_path, *above):
        folder.chmod(0o755)
    (tmp_path / "open.jpg").touch()
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "hidden.jpg").touch()
    locked.chmod(0)
    try:
        with as_nobody():
            assert list(documents([tmp_path])) == [locked, tmp_path / "open.jpg"]
            for path in (locked, locked / "hidden.jpg"):
                assert list(documents([path])) == [path]
                with pytest.raises(PermissionError):
                    read(path)
    finally:
        locked.chmod(0o755)
