"""A folder is pinned by one sha256 that anybody can compute."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from billow.engines.checksums import sha256_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Names that sort otherwise by path than folder by folder."""
    root = tmp_path / "model"
    for name, text in {"b/x": "1", "b.txt": "2", "a": "", "é": "3", "b/c/d": "4"}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_file_is_what_sha256sum_says(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"weights")
    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"weights").hexdigest()


def test_a_folder_is_what_the_documented_command_says(folder: Path) -> None:
    command = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum"
    assert command in str(sha256_of.__doc__)
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    assert sha256_of(folder) == done.stdout.split()[0]


def test_bytes_and_names_count_and_nothing_else_does(folder: Path) -> None:
    before = sha256_of(folder)
    (folder / "empty").mkdir()
    (folder / "a").chmod(0o600)
    assert sha256_of(folder) == before
    (folder / "a").rename(folder / "aa")
    renamed = sha256_of(folder)
    (folder / "aa").write_text("x")
    assert len({before, renamed, sha256_of(folder)}) == 3


@pytest.mark.parametrize("kind", ["link", "folder link", "name", "nothing"])
def test_what_would_escape_the_check_is_refused(folder: Path, tmp_path: Path, kind: str) -> None:
    match kind:
        case "link":
            (folder / "link").symlink_to(folder / "a")
        case "folder link":
            (folder / "link").symlink_to(folder / "b", target_is_directory=True)
        case "name":
            (folder / "a\nb").write_text("")
        case _:
            folder = tmp_path / "nothing"
            folder.mkdir()
    with pytest.raises(ValueError, match=r"neither|line break|empty"):
        sha256_of(folder)
