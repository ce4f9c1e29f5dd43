"""Models written in Python: a class in the model's own folder.

The class is constructed as `Class(manifest, folder)` and has `run(inputs) -> outputs`. It may have `device` (a string),
`metadata` (a mapping of strings) and `close()`.
"""

import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

from billow.engines.errors import EngineError
from billow.engines.manifest import FILE_NAME, Manifest
from billow.engines.protocol import Tensors


class _Model(Protocol):
    def run(self, inputs: Tensors) -> Tensors: ...


class PythonEngine:
    """The user's object behind the Engine protocol."""

    def __init__(self, manifest: Manifest) -> None:
        """Import the class that the manifest names and construct it.

        Raises:
            EngineError: `model_invalid`: nothing to import, no such class, it fails when constructed, or has no `run`.
        """
        self._token = manifest.token
        self._model = cast(_Model | None, _construct(manifest))
        self._device = str(getattr(self._model, "device", "cpu"))
        self._metadata: Mapping[str, str] = dict(getattr(self._model, "metadata", {}))

    @property
    def device(self) -> str:
        """What the object says, else `cpu`."""
        return self._device

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the object says, else empty."""
        return self._metadata

    def run(self, inputs: Tensors) -> Tensors:
        """Call the object's `run`; what it raises comes through as it is.

        Raises:
            EngineError: `inference_failed` after `close`.
        """
        if self._model is None:
            raise EngineError(f"{self._token} is closed; load the model again", code="inference_failed")
        return self._model.run(inputs)

    def close(self) -> None:
        """Call the object's `close`, if it has one, and let go of it. Safe to call twice."""
        model, self._model = self._model, None
        close = getattr(model, "close", None)
        if callable(close):
            close()


def _construct(manifest: Manifest) -> Any:
    python = manifest.python
    if python is None:
        raise EngineError(f"{manifest.token} has no [python] entrypoint", code="model_invalid")
    module_name, _, class_name = python.entrypoint.partition(":")
    module = _import(manifest, module_name)
    found: Any = getattr(module, class_name, None)
    where = f"{manifest.folder / FILE_NAME}: entrypoint {python.entrypoint!r}"
    if not inspect.isclass(found):
        own = [name for name, value in vars(module).items() if inspect.isclass(value)]
        raise EngineError(
            f"{where}: {module_name} has no class {class_name} (its classes: {', '.join(own) or 'none'})",
            code="model_invalid",
        )
    if not callable(getattr(found, "run", None)):
        raise EngineError(f"{where}: the class has no method run(inputs) -> outputs", code="model_invalid")
    construct = cast(Callable[[Manifest, Path], Any], found)
    try:
        return construct(manifest, manifest.folder)
    except Exception as e:
        raise EngineError(
            f"{where}: {class_name}(manifest, folder) failed: {type(e).__name__}: {e}", code="model_invalid"
        ) from e


def _import(manifest: Manifest, module_name: str) -> ModuleType:
    """Import from the model's folder as a submodule of a package that stands for that folder.

    So two models may both have a `model.py`, `sys.path` stays as it is, and modules of one model import each other
    relatively (`from .lexicon import WORDS`).
    """
    package = _package(manifest)
    try:
        return importlib.import_module(f"{package}.{module_name}")
    except ModuleNotFoundError as e:
        if e.name and f"{package}.{module_name}".startswith(e.name):
            raise EngineError(
                f"{manifest.folder / FILE_NAME}: there is no module {module_name} in {manifest.folder}",
                code="model_invalid",
            ) from e
        raise EngineError(
            f"{manifest.folder}: {module_name} imports {e.name}, which is not there: install it, or, if it lies in the "
            f"model's folder, import it relatively (`from .{e.name} import ...`)",
            code="model_invalid",
        ) from e
    except Exception as e:
        raise EngineError(
            f"{manifest.folder}: {module_name} cannot be imported: {type(e).__name__}: {e}", code="model_invalid"
        ) from e


def _package(manifest: Manifest) -> str:
    """Name of the package whose only place is the model's folder; made anew if the token's folder has changed."""
    name = f"billow_model_{manifest.token.replace('-', '_')}"
    path = [str(manifest.folder.resolve())]
    known = sys.modules.get(name)
    if known is not None and list(known.__path__) == path:
        return name
    for stale in [other for other in sys.modules if other == name or other.startswith(f"{name}.")]:
        del sys.modules[stale]
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = path
    sys.modules[name] = importlib.util.module_from_spec(spec)
    importlib.invalidate_caches()
    return name
