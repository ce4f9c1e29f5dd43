"""A recogniser cut to the alphabet of a deployment: a new model made from another one.

The last layer of a recogniser for many scripts has a column for every character of all of them, and each is computed
for every step of every line. A deployment that reads some languages keeps their columns. The rest of the network is
untouched, so the kept characters score as before, relative to each other; where a dropped one would have won, the best
kept one does. Probabilities are shared among fewer classes after the cut, so confidences rise a little.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from billow.engines.alphabet import Alphabet, listed_characters
from billow.engines.errors import AlphabetError, EngineError
from billow.engines.manifest import FILE_NAME, Manifest, read_manifest
from billow.runtime.errors import UsageError

_WEIGHTS = "weights.onnx"
_CARD = "README.md"
_SHOWN = 40
"""Characters of a list in a message."""


class CutModel(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    manifest: Manifest
    """Of the new model, as read from its folder."""
    classes_before: int
    """"No character" and the space included, as below."""
    classes: int
    size_before: int
    """bytes of the weights"""
    size: int
    unknown: tuple[str, ...]
    """Characters that were wished for and that the recogniser never knew."""


def cut_model(
    manifest: Manifest,
    weights: Path,
    alphabet: Alphabet,
    to: Path,
    *,
    name: str = "",
    version: str = "",
    strict: bool = True,
) -> CutModel:
    """Write `to/<name>/` with a manifest, the cut weights and a card. The same question gives the same bytes.

    Args:
        manifest: A text-recognition model of ONNX weights.
        weights: As `weights.verify` returned them.
        alphabet: Characters to keep; "no character" and the space stay in any case.
        to: Folder of models; made if it is not there.
        name: Of the new model; the old one's and the alphabet's if not given.
        version: Of the new model; the old one's if not given.
        strict: Whether to refuse an alphabet of which the recogniser does not know everything.

    Raises:
        UsageError: the model is no recogniser of ONNX weights, or the folder is there already.
        AlphabetError: `strict`, and a character is unknown; or none is known.
        EngineError: `model_invalid`: the last layer is not one that can be cut; `runtime_missing`: no package onnx.
    """
    if manifest.task != "text-recognition" or not {"onnxruntime", "openvino"} & {*manifest.runtimes}:
        raise UsageError(f"{manifest.token} is no recogniser of ONNX weights; only these have an alphabet to cut")
    from billow.engines.onnx_head import OnnxHead

    name, version = name or f"{manifest.name}-{alphabet.name}", version or manifest.version
    folder = to / name
    if folder.exists():
        raise UsageError(f"{folder} is there already; take it away, or choose another name with --name")
    head = OnnxHead(weights)
    listed = listed_characters(manifest) or head.characters
    if listed is None:
        raise EngineError(
            f"{manifest.token} does not say which characters it knows; name their file in its manifest: "
            '[alphabet] file = "characters.txt"',
            code="model_invalid",
        )
    known = listed.removesuffix("\n").split("\n")
    kept, unknown = _choose(known, alphabet, strict=strict)
    # Classes are laid out as "no character", the list, the space.
    classes = [0, *(index + 1 for index in kept), len(known) + 1]
    data = head.keep(classes, of=len(known) + 2, characters="\n".join(known[index] for index in kept))
    made = _manifest(manifest, alphabet, name, version, hashlib.sha256(data).hexdigest(), len(kept))
    _write(folder, made, data, _card(manifest, alphabet, made, len(known), len(kept)))
    return CutModel(
        manifest=read_manifest(folder / FILE_NAME),
        classes_before=len(known) + 2,
        classes=len(classes),
        size_before=weights.stat().st_size,
        size=len(data),
        unknown=unknown,
    )


def _choose(known: Sequence[str], alphabet: Alphabet, *, strict: bool) -> tuple[list[int], tuple[str, ...]]:
    """Which of the known characters stay, in the model's order, and what it does not know."""
    wished, knows = {" ", *alphabet.characters}, {*known}
    kept = [index for index, character in enumerate(known) if character in wished]
    unknown = tuple(character for character in alphabet.characters if character not in knows)
    if unknown and strict:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise AlphabetError(
            f"the recogniser has no character for {''.join(unknown[:_SHOWN])}{more}, so no cut will read them; take "
            f"them out of the alphabet {alphabet.name!r}, or choose another recogniser"
        )
    if not kept:
        raise AlphabetError(f"the recogniser knows nothing of the alphabet {alphabet.name!r}")
    return kept, unknown


def _manifest(
    source: Manifest, alphabet: Alphabet, name: str, version: str, sha256: str, characters: int
) -> dict[str, Any]:
    """The new manifest. What was measured of the old one is left behind; the rest still holds."""
    tables = {
        key: {k: v for k, v in msgspec.to_builtins(value).items() if v is not None}
        for key, value in (("batching", source.batching), ("limits", source.limits), ("parameters", source.parameters))
    }
    return {
        "name": name,
        "version": version,
        "task": source.task,
        "runtimes": list(source.runtimes),
        "licence": source.licence,
        "description": f"{source.name} {source.version}, cut to the {characters} characters of {alphabet.name!r}.",
        "weights": {"kind": "file", "file": _WEIGHTS, "sha256": sha256},
        "alphabet": {"name": alphabet.name, "size": characters},
        "origin": {
            "model": source.token,
            "sha256": source.weights.sha256 if source.weights else "",
            "made_by": f"billow models cut {source.token} --alphabet {alphabet.name}",
        },
    } | {key: table for key, table in tables.items() if table}


def _card(source: Manifest, alphabet: Alphabet, made: dict[str, Any], known: int, kept: int) -> str:
    return f"""# {made["name"]}

`{source.name}` {source.version} with the {kept:,} characters of the alphabet `{alphabet.name}` instead of {known:,}:
task `{source.task}`. Only the columns of the last layer that belong to other characters were taken out; no number was
changed and nothing was trained.

| | |
|---|---|
| licence | {source.licence}, as of `{source.name}`, whose card says where the weights come from |
| made by | `{made["origin"]["made_by"]}` |
| from | sha256 `{made["origin"]["sha256"]}` |

A character outside the alphabet is read as one inside. Probabilities are shared among fewer classes than before, so
confidences are a little higher than those of `{source.name}`. Measure it on your documents before you rely on it.
"""


def _write(folder: Path, manifest: dict[str, Any], weights: bytes, card: str) -> None:
    """All of the folder or nothing: it is filled under another name."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        (partial / _WEIGHTS).write_bytes(weights)
        (partial / _CARD).write_text(card, encoding="utf-8")
        (partial / FILE_NAME).write_bytes(msgspec.toml.encode(manifest))
        read_manifest(partial / FILE_NAME)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
