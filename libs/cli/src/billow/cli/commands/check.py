"""`billow models check`: whether what would be served can be served, tried on this machine."""

import statistics
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from billow.engines.catalog import Catalog
from billow.engines.errors import ManifestError
from billow.engines.load import choose_runtime
from billow.engines.manifest import FILE_NAME, Manifest, read_manifest
from billow.engines.protocol import Engine, Tensors
from billow.engines.settings import model_cache, model_folders
from billow.engines.weights import verify
from billow.runtime.errors import BillowError, UsageError
from billow.runtime.settings import load
from billow.schemas.geometry import Page, Word
from billow.schemas.inference import (
    Classifications,
    ClassifyTokens,
    Detections,
    DetectText,
    Output,
    Payload,
    Recognitions,
    RecognizeCrops,
)
from billow.services.worker.composition import dress, load_model
from billow.services.worker.settings import WorkerSettings
from billow.services.worker.tasks.protocol import TaskModel
from billow.vision.transport import CROP, PAGE, encode

_RUNS = 5
_LINES = 8
"""Lines in the trial of a recogniser."""
_PAGE = (1024, 736)
"""Height and width in px of the trial page."""
_SLACK = 1e-3
"""By which a probability may leave 0..1, computed in 32 bits."""


def check(named: Sequence[str], out: Console) -> bool:
    """Try each model and print what was found; True if all can be served.

    Args:
        named: Names, tokens, or folders with a manifest or with models; none for all that the settings know.
        out: Where to print.

    Raises:
        UsageError: a name that nobody knows, or a folder without models.
    """
    settings = load(WorkerSettings)
    passed = True
    for found in _find(named):
        if isinstance(found, ManifestError):
            _say(out, "FAILED", "manifest", str(found))
            passed = False
        else:
            passed &= _Trial(found, settings, out).run()
    return passed


def _find(named: Sequence[str]) -> Iterator[Manifest | ManifestError]:
    if not named:
        catalog = Catalog(model_folders())
        yield from catalog
        yield from catalog.broken
    for name in named:
        if Path(name).is_dir() and ("/" in name or name.startswith(".") or not _known(name)):
            yield from _in_folder(Path(name))
            continue
        try:
            yield Catalog(model_folders()).get(name)
        except ManifestError as e:
            yield e


def _known(name: str) -> bool:
    return any(name in {model.name, model.token} for model in Catalog(model_folders()))


def _in_folder(folder: Path) -> Iterator[Manifest | ManifestError]:
    paths = [path for path in (folder / FILE_NAME, *sorted(folder.glob(f"*/{FILE_NAME}"))) if path.is_file()]
    if not paths:
        raise UsageError(
            f"there is no {FILE_NAME} in {folder} nor in its folders; `docs/add-a-model.md` says how to write one"
        )
    for path in paths:
        try:
            yield read_manifest(path)
        except ManifestError as e:
            yield e


class _FaultError(Exception):
    """A step failed; the text says why."""


class _Trial:
    """One model, step by step, until one fails. What runs it is what a worker runs it with."""

    def __init__(self, manifest: Manifest, settings: WorkerSettings, out: Console) -> None:
        self._manifest = manifest
        self._settings = settings
        self._out = out
        self._step = ""

    def run(self) -> bool:
        self._out.print(Text(self._manifest.token, style="bold"))
        try:
            self._try()
        except _FaultError as e:
            _say(self._out, "FAILED", self._step, str(e))
            return False
        return True

    def _try(self) -> None:
        manifest = self._manifest
        with self._doing("manifest"):
            self._ok(str(manifest.folder / FILE_NAME))
        with self._doing("weights"):
            place = verify(manifest, model_cache())
            self._ok("none needed" if place is None else f"as pinned, {place}")
        with self._doing("runtime"):
            self._ok(self._runtime())
        with self._doing("load"):
            started = time.perf_counter()
            model, engine = load_model(manifest, self._settings)
            self._ok(f"in {time.perf_counter() - started:.1f} s, on {engine.device}")
        try:
            with self._doing("run"):
                model.warm_up()
                watched = _Watched(engine)
                self._ok(_trial(manifest, dress(manifest, watched), watched))
            with self._doing("speed"):
                self._ok(_speed(manifest, model))
        finally:
            engine.close()

    def _runtime(self) -> str:
        if self._manifest.runtimes == ("python",):
            return "python"
        return choose_runtime(self._manifest, device=self._settings.device, runtime=self._settings.runtime or None)

    @contextmanager
    def _doing(self, step: str) -> Generator[None]:
        self._step = step
        try:
            yield
        except _FaultError:
            raise
        except BillowError as e:
            raise _FaultError(str(e)) from e
        except Exception as e:  # a model's own code may fail in any way
            raise _FaultError(f"it raised {type(e).__name__}: {e}") from e

    def _ok(self, text: str) -> None:
        _say(self._out, "ok", self._step, text)


class _Watched:
    """An engine that remembers what last went in and came out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.outputs: Tensors = {}

    @property
    def device(self) -> str:
        return self._engine.device

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._engine.metadata

    def run(self, inputs: Tensors) -> Tensors:
        self.outputs = self._engine.run(inputs)
        return self.outputs

    def close(self) -> None:
        self._engine.close()


def _trial(manifest: Manifest, model: TaskModel, watched: _Watched) -> str:
    """Run once on a blank input of the task; what came out, in words."""
    (answer,) = model.run([_blank(manifest)])
    if answer.error is not None or answer.output is None:
        raise _FaultError(answer.error.message if answer.error else "it gave no answer")
    if manifest.task != "token-classification":
        _check_numbers(watched.outputs)
    return _describe(answer.output)


def _blank(manifest: Manifest) -> Payload:
    match manifest.task:
        case "text-detection":
            return DetectText(image=encode(np.full((*_PAGE, 3), 255, np.uint8), PAGE))
        case "text-recognition":
            return RecognizeCrops(crops=(encode(np.full((48, 320, 3), 255, np.uint8), CROP),) * _LINES)
        case "token-classification":
            quads = [(10.0, y, 90.0, y, 90.0, y + 10, 10.0, y + 10) for y in (10.0, 30.0)]
            words = (Word(text="Total", quad=quads[0]), Word(text="1.00", quad=quads[1]))
            return ClassifyTokens(pages=(Page(width=100, height=100),), words=words)


def _check_numbers(outputs: Mapping[str, Any]) -> None:
    """The adapters take what a network says for probabilities, so here it is looked at."""
    for name, array in outputs.items():
        values = np.asarray(array)
        if not np.isfinite(values).all():
            raise _FaultError(f"its output {name} holds what is no number")
        if values.size and (values.min() < -_SLACK or values.max() > 1 + _SLACK):
            raise _FaultError(
                f"its output {name} goes from {values.min():.3g} to {values.max():.3g}; it must be a probability, 0..1 "
                "(export the model with its last sigmoid or softmax)"
            )


def _describe(output: Output) -> str:
    match output:
        case Detections():
            return f"{len(output.quads)} lines found on a blank page"
        case Recognitions():
            if len(output.texts) != _LINES:
                raise _FaultError(f"it read {len(output.texts)} texts from {_LINES} lines")
            return f"a blank line reads {output.texts[0]!r}"
        case Classifications():
            return f"two words are labelled {', '.join(label or '(nothing)' for label in output.labels)}"


def _speed(manifest: Manifest, model: TaskModel) -> str:
    payload = _blank(manifest)
    times: list[float] = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        model.run([payload])
        times.append((time.perf_counter() - started) * 1000)
    what = {
        "text-detection": f"a page of {_PAGE[1]} x {_PAGE[0]} px",
        "text-recognition": f"{_LINES} lines of 320 px",
        "token-classification": "two words",
    }[manifest.task]
    return f"{statistics.median(times):.1f} ms for {what} (median of {_RUNS})"


def _say(out: Console, verdict: str, step: str, text: str) -> None:
    line = (
        Text("  ").append(f"{verdict:<7}", style="green" if verdict == "ok" else "red bold").append(f"{step:<9} {text}")
    )
    out.print(line, soft_wrap=True)
