"""From a manifest to an engine that runs."""

import importlib.util
from pathlib import Path

from billow.engines.errors import EngineError
from billow.engines.manifest import Manifest
from billow.engines.protocol import Engine


def load_engine(manifest: Manifest, weights: Path | None, *, threads: int | None = None) -> Engine:
    """Load one model; its framework is imported only now.

    Args:
        manifest: From a `Catalog`.
        weights: As `weights.verify` or `weights.pull` returned it; it is not checked again.
        threads: For one `run()`, where the runtime can be told; all cores of this process if not given.

    Raises:
        EngineError: `runtime_missing` or `model_invalid`.
    """
    match manifest.runtime:
        case "onnxruntime":
            return _onnxruntime(manifest, weights, threads)
        case "python":
            from billow.engines.runtimes.python_runtime import PythonEngine

            return PythonEngine(manifest)


def _onnxruntime(manifest: Manifest, weights: Path | None, threads: int | None) -> Engine:
    if weights is None:
        raise EngineError(f"{manifest.token} cannot be loaded without its weights", code="model_invalid")
    if importlib.util.find_spec("onnxruntime") is None:
        raise EngineError(
            f"{manifest.token} needs onnxruntime, which is not installed: `pip install 'billow-engines[onnxruntime]'`, "
            "or in a checkout `uv sync`",
            code="runtime_missing",
        )
    try:
        from billow.engines.runtimes.onnxruntime_runtime import OnnxruntimeEngine
    except ImportError as e:
        raise EngineError(
            f"{manifest.token} needs onnxruntime, which is installed but cannot be imported ({e}); install it anew: "
            "`pip install --force-reinstall 'billow-engines[onnxruntime]'`",
            code="runtime_missing",
        ) from e
    return OnnxruntimeEngine(weights, threads=threads)
