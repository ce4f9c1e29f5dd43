"""`billow models show`: all that there is to know of one model on this machine."""

from collections.abc import Iterator, Sequence

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from billow.engines.catalog import Catalog
from billow.engines.errors import EngineError, WeightsError
from billow.engines.manifest import FILE_NAME, Manifest
from billow.engines.manifest_weights import FileWeights, UrlWeights, WheelWeights
from billow.engines.settings import model_cache, model_folders
from billow.engines.weights import verify
from billow.runtime.errors import UsageError
from billow.runtime.settings import load
from billow.schemas.presence import ModelPresence
from billow.services.worker.digest import digest_of

_CARD = "README.md"

Row = tuple[str, str]


def find(name: str) -> Manifest:
    """By name or token. Raises UsageError for a name that nobody knows."""
    return Catalog(model_folders()).get(name)


def show(manifest: Manifest, out: Console) -> None:
    """Print what the manifest says and what this machine makes of it; of the weights, whether they are right."""
    rows: list[Row] = [
        ("model", manifest.token),
        ("is", manifest.description),
        ("task", manifest.task),
        ("licence", manifest.licence),
        ("runtimes", f"{', '.join(manifest.runtimes)}; here {_chosen(manifest)}"),
        *_weights(manifest),
        *_alphabet(manifest),
        (
            "batching",
            f"up to {manifest.batching.max_batch} at once, waits {manifest.batching.max_wait_ms:g} ms for more",
        ),
        ("limits", _pairs(msgspec.to_builtins(manifest.limits)) or "none of its own"),
        ("parameters", _pairs(manifest.parameters) or "those of its task"),
        *_origin(manifest),
        *_accuracy(manifest),
        ("manifest", str(manifest.folder / FILE_NAME)),
        ("card", str(card) if (card := manifest.folder / _CARD).is_file() else "none; write one beside the manifest"),
    ]
    _print(rows, out)


def show_serving(manifest: Manifest, workers: Sequence[ModelPresence], waiting: int, out: Console) -> None:
    """Print who serves it now, with the same weights or not, and how many requests wait for it."""
    digest = digest_of(manifest)
    rows: list[Row] = []
    for worker in workers:
        if worker.model != manifest.token:
            continue
        other = ", WITH OTHER CONTENTS than the model here" if worker.digest not in {"", digest} else ""
        rows.append(
            (
                "" if rows else "served by",
                f"{worker.host}:{worker.pid} on {worker.device}, {worker.items_per_s:.1f} items/s, "
                f"p50 {worker.p50_ms:.0f} ms, p95 {worker.p95_ms:.0f} ms, {worker.memory_mb:.0f} MB{other}",
            )
        )
    if not rows:
        rows.append(("served by", f"nobody; plug it in with `billow worker {manifest.name}`"))
    route = f"`billow models route {manifest.task}` says which documents it gets"
    _print([*rows, ("queue", f"{waiting} requests"), ("route", route)], out)


def _print(rows: list[Row], out: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True, min_width=10)
    table.add_column(overflow="fold")
    for key, value in rows:
        table.add_row(key, Text(value))
    out.print(table)


def _chosen(manifest: Manifest) -> str:
    # Only here: they need numpy, and no other command that is imported with this one does.
    from billow.engines.load import choose_runtime
    from billow.services.worker.settings import WorkerSettings

    settings = load(WorkerSettings)
    if manifest.runtimes == ("python",):
        return "python"
    try:
        chosen = choose_runtime(manifest, device=settings.device, runtime=settings.runtime or None)
    except (EngineError, UsageError) as e:
        return f"none: {e}"
    return f"{chosen} on {settings.device}"


def _weights(manifest: Manifest) -> Iterator[Row]:
    match manifest.weights:
        case None:
            yield "weights", "none needed"
            return
        case WheelWeights() as weights:
            yield "weights", f"{weights.path} of the package {weights.package} {weights.package_version}"
        case UrlWeights() as weights:
            yield "weights", weights.url
        case FileWeights() as weights:
            yield "weights", f"{weights.file} beside the manifest"
    yield "sha256", weights.sha256
    try:
        place = verify(manifest, model_cache())
    except WeightsError as e:
        size = "" if isinstance(weights, FileWeights) else f"{weights.size:,} bytes; "
        absent = e.code == "weights_missing" and not isinstance(weights, FileWeights)
        yield "here", f"{size}not pulled: `billow models pull {manifest.name}`" if absent else str(e)
        return
    assert place is not None  # noqa: S101  (a model with weights)
    size = place.stat().st_size if place.is_file() else sum(f.stat().st_size for f in place.rglob("*") if f.is_file())
    yield "here", f"{size:,} bytes, as pinned, at {place}"


def _alphabet(manifest: Manifest) -> Iterator[Row]:
    if alphabet := manifest.alphabet:
        parts = [alphabet.name or "", f"{alphabet.size:,} characters" if alphabet.size else "", alphabet.file or ""]
        yield "alphabet", ", ".join(part for part in parts if part) or "not said"


def _origin(manifest: Manifest) -> Iterator[Row]:
    if origin := manifest.origin:
        yield "made of", f"{origin.model} by `{origin.made_by}`"


def _accuracy(manifest: Manifest) -> Iterator[Row]:
    if not manifest.accuracy:
        yield "accuracy", "nothing measured"
    for index, figure in enumerate(manifest.accuracy):
        yield "" if index else "accuracy", f"{figure.metric} {figure.value:g} on {figure.data_set}"
    measured = {(figure.together_with, figure.measured, figure.command): None for figure in manifest.accuracy}
    for index, (together, day, command) in enumerate(measured):
        others = f" together with {', '.join(together)}" if together else ""
        yield "" if index else "measured", f"{day}{others}: {command}"


def _pairs(values: dict[str, object]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items() if value is not None)
