"""What a model is made of, as one number, so that two models of one name and version are told apart."""

import hashlib
from pathlib import Path

from billow.engines.manifest import Manifest

_NO_PARTS = frozenset({"__pycache__", "tests"})
"""Folders, at any depth, that are no part of a model."""


def digest_of(manifest: Manifest) -> str:
    """Hex sha256 of the weights as the manifest pins them, or of everything in the folder of a Python model.

    Neither what Python caches there nor its `tests` count, as images leave both out. Blocks for as long as it takes to
    read a Python model's folder.
    """
    if manifest.weights is not None:
        return manifest.weights.sha256
    listed = hashlib.sha256()
    for file in sorted(_files(manifest.folder), key=lambda file: file.as_posix().encode()):
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        listed.update(f"{digest}  {file.relative_to(manifest.folder).as_posix()}\n".encode())
    return listed.hexdigest()


def _files(folder: Path) -> list[Path]:
    return [
        file
        for file in folder.rglob("*")
        if file.is_file() and file.suffix != ".pyc" and _NO_PARTS.isdisjoint(file.relative_to(folder).parent.parts)
    ]
