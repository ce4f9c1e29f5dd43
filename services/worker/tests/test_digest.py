"""What tells two models of one name and version apart."""

import shutil
from pathlib import Path

import msgspec
import pytest

from billow.engines.catalog import Catalog
from billow.engines.manifest import FileWeights, Manifest
from billow.services.worker.digest import digest_of

MANIFEST = """
name = "toy"
version = "1.0.0"
task = "token-classification"
runtimes = ["python"]
licence = "MIT"
description = "A toy."
[python]
entrypoint = "toy:Toy"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "here" / "toy"
    (where / "data").mkdir(parents=True)
    (where / "manifest.toml").write_text(MANIFEST)
    (where / "toy.py").write_text("class Toy: ...\n")
    (where / "data" / "words.txt").write_text("total\n")
    return where


def read(folder: Path) -> Manifest:
    return Catalog([folder.parent]).get("toy")


def test_the_same_files_elsewhere_are_the_same_model(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "there" / "toy"
    shutil.copytree(folder, copy)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "toy.cpython-311.pyc").write_bytes(b"\0")
    assert digest_of(read(folder)) == digest_of(read(copy))
    assert len(digest_of(read(folder))) == 64


def test_a_checkout_and_an_image_of_it_are_the_same_model(folder: Path) -> None:
    """Images leave the tests out."""
    before = digest_of(read(folder))
    (folder / "tests").mkdir()
    (folder / "tests" / "test_toy.py").write_text("def test_nothing() -> None: ...\n")
    assert digest_of(read(folder)) == before


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_any_other_file_makes_another_model(folder: Path, change: str) -> None:
    before = digest_of(read(folder))
    words = folder / "data" / "words.txt"
    match change:
        case "content":
            words.write_text("sum\n")
        case "name":
            words.rename(folder / "data" / "list.txt")
        case _:
            (folder / "more.txt").write_text("")
    assert digest_of(read(folder)) != before


def test_weights_are_known_by_their_own_digest(folder: Path) -> None:
    weights = FileWeights(file="toy.onnx", sha256="ab" * 32)
    manifest = msgspec.structs.replace(read(folder), runtimes=("onnxruntime",), python=None, weights=weights)
    assert digest_of(manifest) == "ab" * 32
