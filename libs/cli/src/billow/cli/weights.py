"""Fetches missing model weights, with a bar that moves."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from billow.engines.catalog import Catalog
from billow.engines.manifest import Manifest
from billow.engines.settings import model_cache, model_folders
from billow.engines.weights import WeightsError, pull_all, verify
from billow.runtime.errors import StackUnreachableError


def manifests(names: Sequence[str]) -> list[Manifest]:
    """The manifests of these models. Raises UsageError for a name that nobody knows."""
    catalog = Catalog(model_folders())
    return [catalog.get(name) for name in names]


def missing(models: Sequence[Manifest]) -> list[Manifest]:
    """Those whose weights are not in the cache.

    Raises:
        WeightsError: weights are there but are not what the manifest says.
    """
    absent: list[Manifest] = []
    for model in models:
        try:
            verify(model, model_cache())
        except WeightsError as e:
            if e.code != "weights_missing":
                raise
            absent.append(model)
    return absent


def pull(models: Sequence[Manifest], console: Console) -> dict[str, Path]:
    """Fetch and verify weights; what is cached already is only verified. Returns token -> file.

    Raises:
        WeightsError: they cannot be fetched, or are not what the manifest says.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        bar = progress.add_task("model weights", total=None)
        return pull_all(models, model_cache(), lambda done, total: progress.update(bar, completed=done, total=total))


def ensure(names: Sequence[str], console: Console) -> None:
    """Fetch what a stack needs and say so.

    Raises:
        UsageError: a name that nobody knows.
        StackUnreachableError: the weights cannot be had, so the stack cannot start.
    """
    try:
        absent = missing(manifests(names))
        if absent:
            console.print(f"Fetching the weights of {', '.join(model.token for model in absent)} (once).")
            pull(absent, console)
    except WeightsError as e:
        raise StackUnreachableError(str(e)) from e
