"""`billow models cut`: a recogniser with the alphabet of a deployment."""

import os
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.text import Text

from billow.cli import weights
from billow.engines.alphabet import find_alphabet
from billow.engines.cut import CutModel, cut_model
from billow.engines.settings import model_cache, model_folders
from billow.engines.weights import verify
from billow.runtime.errors import UsageError


def cut(
    name: str,
    to: Path,
    *,
    alphabet: str,
    samples: Iterable[Path],
    new_name: str,
    new_version: str,
    out: Console,
    err: Console,
) -> None:
    """Pull the recogniser if need be, cut it, and say how to serve what came of it.

    Raises:
        UsageError: no such model, or it is no recogniser, or the new folder is there already.
        PermanentError: the alphabet or the weights cannot be used.
    """
    (source,) = weights.manifests([name])
    if weights.missing([source]):
        weights.pull([source], err)
    place = verify(source, model_cache())
    if place is None:
        raise UsageError(f"{source.token} has no weights that could be cut")
    texts = [_read(path) for path in samples]
    wished = find_alphabet(alphabet).extended(texts)
    # What stands in samples is whatever stands there; an alphabet is what somebody counts on.
    made = cut_model(source, place, wished, to, name=new_name, version=new_version, strict=not texts)
    _tell(made, out)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{path}: cannot be read as UTF-8 text: {e}") from e


def _tell(made: CutModel, out: Console) -> None:
    manifest = made.manifest
    folders = os.pathsep.join(str(folder) for folder in (*model_folders(), manifest.folder.parent.absolute()))
    lines = [
        f"{manifest.token} is in {manifest.folder}",
        f"classes {made.classes_before:,} -> {made.classes:,}, weights {made.size_before:,} -> {made.size:,} bytes, "
        f"sha256 {manifest.weights.sha256 if manifest.weights else ''}",
    ]
    if made.unknown:
        lines.append(f"not known to the recogniser and left out: {' '.join(made.unknown)}")
    lines.append(f"Try it:  BILLOW_MODELS={folders} billow models check {manifest.name}")
    for line in lines:
        out.print(Text(line), soft_wrap=True)
