"""What a model says of itself: `manifest.toml` in its folder, read once and never changed.

name = "ppocr-v6-det-small"         # a-z, 0-9 and -
version = "1.0.0"                   # MAJOR.MINOR.PATCH
task = "text-detection"             # what it is asked to do
runtimes = ["openvino", "onnxruntime"]  # what can run it, the preferred first; or ["tensorflow"], or ["python"]
licence = "Apache-2.0"              # SPDX
description = "Finds lines of text."

[weights]                           # not for the python runtime
kind = "wheel"                      # out of a pinned wheel ...
package = "rapidocr"
package_version = "3.10.0"
path = "rapidocr/models/x.onnx"
sha256 = "..."
size = 9929594                      # bytes
# kind = "url"                      # ... or one file from a server: url, sha256, size
# kind = "file"                     # ... or a file (or folder) beside the manifest: file, sha256

[python]                            # only for the python runtime
entrypoint = "rules_model:RulesModel"

[tensorflow]                        # optional, only for the tensorflow runtime
signature = "serving_default"

[alphabet]                          # optional, only for text-recognition
name = "latin"                      # what its characters are called, and how many there are
size = 415
file = "characters.txt"             # for weights without a `character` list: one character a line, beside the manifest

[batching]                          # optional, as are [limits] and [parameters]
max_batch = 1
max_wait_ms = 0

[[accuracy]]                        # optional, one for each figure
data_set = "ICDAR 2019 SROIE, 100 receipts"
metric = "word F1"
value = 0.9567
together_with = ["ppocr-v6-rec-small_1-0-0"]
measured = 2026-11-22
command = "make bench-accuracy DATA=sroie"

[origin]                            # optional, for a model made of another one: model, sha256, made_by
"""

import datetime
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from billow.engines.errors import ManifestError
from billow.engines.manifest_weights import FileWeights, NotBlank, Sha256, Table, UrlWeights, WheelWeights
from billow.schemas.labels import Task
from billow.schemas.tokens import model_token

FILE_NAME = "manifest.toml"

Runtime = Literal["openvino", "onnxruntime", "tensorflow", "python"]

_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*(?!\n)$"
_VERSION = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?!\n)$"
_ENTRYPOINT = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?!\n)$"


class PythonModel(Table, frozen=True, kw_only=True):
    """For the python runtime: which class is the model."""

    entrypoint: Annotated[str, Meta(pattern=_ENTRYPOINT)]
    """`module:Class`; the module (or package) lies in the model's folder."""


class TensorflowModel(Table, frozen=True, kw_only=True):
    """For the tensorflow runtime: which of a SavedModel's functions is the model."""

    signature: NotBlank = "serving_default"
    """Its inputs and outputs are the model's."""


class Batching(Table, frozen=True, kw_only=True):
    """How much a worker gathers before it runs."""

    max_batch: Annotated[int, Meta(ge=1)] = 1
    """Items in one `run()`: pages for text-detection, crops for text-recognition, documents for
    token-classification."""
    max_wait_ms: Annotated[float, Meta(ge=0)] = 0.0
    """How long the first item waits for company, ms. 0 takes what is there and never waits."""


class Limits(Table, frozen=True, kw_only=True):
    """What a worker refuses before it costs model time; None is no limit of the model's own."""

    max_pixels: Annotated[int, Meta(gt=0)] | None = None
    """px (width times height) of one input image."""
    max_items: Annotated[int, Meta(gt=0)] | None = None
    """Crops or words in one request."""


class AlphabetOf(Table, frozen=True, kw_only=True):
    """What a recogniser can answer with; a space comes on top."""

    name: NotBlank | None = None
    """What these characters are called, e.g. `latin`."""
    size: Annotated[int, Meta(gt=0)] | None = None
    """characters"""
    file: NotBlank | None = None
    """Relative to the model's folder, one character a line; for weights that do not list them."""


class Accuracy(Table, frozen=True, kw_only=True):
    """One figure that somebody measured."""

    data_set: NotBlank
    """What it was measured on, and how much of it."""
    metric: NotBlank
    value: float
    """In the unit of the metric; a share is 0..1."""
    together_with: tuple[NotBlank, ...] = ()
    """Tokens of the other models that took part; the figure is of all of them together."""
    measured: datetime.date
    command: NotBlank
    """What to run for measuring it again, in a checkout."""


class Origin(Table, frozen=True, kw_only=True):
    """Which model this one was made of, and how."""

    model: NotBlank
    """Its token."""
    sha256: Sha256
    """Of its weights."""
    made_by: NotBlank
    """The command."""


class Manifest(Table, frozen=True, kw_only=True):
    """One version of one model."""

    name: Annotated[str, Meta(pattern=_NAME)]
    version: Annotated[str, Meta(pattern=_VERSION)]
    task: Task
    runtimes: Annotated[tuple[Runtime, ...], Meta(min_length=1)]
    """What can run the one weights file; the first that is installed and serves the wanted device does."""
    licence: NotBlank
    """SPDX expression that covers the weights, or the code of a python model."""
    description: NotBlank
    weights: WheelWeights | UrlWeights | FileWeights | None = None
    python: PythonModel | None = None
    tensorflow: TensorflowModel | None = None
    alphabet: AlphabetOf | None = None
    accuracy: tuple[Accuracy, ...] = ()
    origin: Origin | None = None
    batching: Batching = Batching()
    limits: Limits = Limits()
    parameters: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    """Settings of the task, converted by whoever runs the task; empty is always valid."""
    folder: Path = Path()
    """Where the file lies. Set by `read_manifest`; the file itself must not have it."""

    def __post_init__(self) -> None:
        model_token(self.name, self.version)
        first = self.runtimes[0] if self.runtimes else ""
        if len(set(self.runtimes)) != len(self.runtimes):
            raise ValueError("`runtimes` names one of them twice")
        for alone in ("python", "tensorflow"):
            if alone in self.runtimes and len(self.runtimes) > 1:
                raise ValueError(f'runtime "{alone}" stands alone; no other can run its models')
        if "python" in self.runtimes:
            if self.python is None:
                raise ValueError('runtime "python" needs a table [python] with entrypoint = "module:Class"')
            if self.weights is not None:
                raise ValueError('runtime "python" takes no [weights]; the class reads its files from its folder')
        else:
            if self.weights is None:
                raise ValueError(f'runtime "{first}" needs a table [weights]')
            if self.python is not None:
                raise ValueError('a table [python] is only for runtime "python"')
        if self.tensorflow is not None and "tensorflow" not in self.runtimes:
            raise ValueError('a table [tensorflow] is only for runtime "tensorflow"')
        if self.alphabet is not None and self.task != "text-recognition":
            raise ValueError('a table [alphabet] is only for task "text-recognition"')

    @property
    def token(self) -> str:
        """Name and version as one token of a subject: `ppocr-v6-det-small_1-0-0`."""
        return model_token(self.name, self.version)

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers, for putting versions in order."""
        return tuple(int(part) for part in self.version.split("."))


_RUNTIMES = ", ".join(f'"{runtime}"' for runtime in get_args(Runtime))

_ALLOWED: dict[str, str] = {
    "name": "words of a-z and 0-9 joined by '-', e.g. \"ppocr-v6-det-small\"",
    "version": 'MAJOR.MINOR.PATCH, e.g. "1.0.0"',
    "task": ", ".join(f'"{task}"' for task in get_args(Task)),
    "runtimes": f"a list of one or more, the preferred first, of {_RUNTIMES}",
    "weights.kind": '"wheel" (package, package_version, path, sha256, size), "url" (url, sha256, size) or "file" '
    "(file, sha256)",
    "weights.package": "the name of a package",
    "weights.package_version": 'one exact version, e.g. "3.10.0"',
    "weights.url": "http://, https:// or file:// and a path whose last part names the file; no user and password",
    "weights.sha256": "64 of 0-9 and a-f, as `sha256sum` prints them",
    "weights.size": "the size in bytes, an integer",
    "python.entrypoint": '"module:Class"',
}
"""Key -> what may stand there."""

_KEYS: dict[str, tuple[str, ...]] = {
    "": tuple(field for field in Manifest.__struct_fields__ if field != "folder"),
    "python": PythonModel.__struct_fields__,
    "tensorflow": TensorflowModel.__struct_fields__,
    "alphabet": AlphabetOf.__struct_fields__,
    "accuracy": Accuracy.__struct_fields__,
    "origin": Origin.__struct_fields__,
    "batching": Batching.__struct_fields__,
    "limits": Limits.__struct_fields__,
}
"""Table -> its keys; "" is the top of the file."""

_WEIGHTS_KEYS = {
    kind.__struct_config__.tag: ("kind", *kind.__struct_fields__) for kind in (WheelWeights, UrlWeights, FileWeights)
}
"""Kind of [weights] -> its keys."""


def read_manifest(path: Path) -> Manifest:
    """Read and check one `manifest.toml`.

    Raises:
        ManifestError: it cannot be read, is no TOML, or a key is missing, unknown or wrong.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ManifestError(f"{path}: cannot be read: {e.strerror or e}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ManifestError(f"{path}: is not valid TOML: {e}") from e
    if "folder" in raw:
        raise ManifestError(f"{path}: unknown key `folder`; allowed here: {', '.join(_KEYS[''])}")
    try:
        return msgspec.convert({**raw, "folder": path.parent}, Manifest)
    except msgspec.ValidationError as e:
        raise ManifestError(f"{path}: {_explain(str(e), raw)}") from e


def _explain(fault: str, raw: dict[str, Any]) -> str:
    """Turn msgspec's `... - at `$.weights.size`` into the key, the fault and what is allowed."""
    what, _, where = fault.partition(" - at ")
    at = where.strip("`").removeprefix("$").removeprefix(".")
    if unknown := re.search(r"unknown field `(.+)`", what):
        key = f"{at}.{unknown[1]}" if at else unknown[1]
        keys = _KEYS.get(_without_index(at), ())
        if at == "weights":
            keys = _WEIGHTS_KEYS.get(raw["weights"].get("kind"), ())
        return f"unknown key `{key}`; allowed here: {', '.join(keys)}"
    if missing := re.search(r"missing required field `(.+)`", what):
        key = f"{at}.{missing[1]}" if at else missing[1]
        return f"key `{key}` is missing{_allowed(key)}"
    if " matching regex " in what and at in _ALLOWED:
        what = "cannot be used"
    return f"key `{at}`: {what}{_allowed(at)}" if at else what


def _allowed(key: str) -> str:
    key = _without_index(key)
    return f"; allowed: {_ALLOWED[key]}" if key in _ALLOWED else ""


def _without_index(key: str) -> str:
    """`runtimes` of `runtimes[0]`."""
    return re.sub(r"\[\d+\]$", "", key)
