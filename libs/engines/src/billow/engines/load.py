"""From a manifest to an engine that runs."""

import importlib.util
from pathlib import Path
from typing import Literal

from billow.engines.errors import EngineError
from billow.engines.manifest import Manifest, Runtime, TensorflowModel
from billow.engines.protocol import Engine
from billow.runtime.errors import UsageError

Device = Literal["cpu", "cuda", "tensorrt"]

_SERVES: dict[Device, tuple[Runtime, ...]] = {
    "cpu": ("openvino", "onnxruntime", "tensorflow", "python"),
    "cuda": ("onnxruntime", "tensorflow", "python"),
    "tensorrt": ("onnxruntime",),
}
"""What runs on which device. A Python model picks its own device; see `load_engine`."""


def load_engine(
    manifest: Manifest,
    weights: Path | None,
    *,
    threads: int | None = None,
    device: Device = "cpu",
    runtime: Runtime | None = None,
    gpu_memory: int | None = None,
) -> Engine:
    """Load one model; its framework is imported only now.

    Args:
        manifest: From a `Catalog`.
        weights: As `weights.verify` or `weights.pull` returned it; it is not checked again.
        threads: CPU threads for one `run()`, where the runtime can be told; all cores of this process if not given.
        device: Where it must run; nothing falls back to the CPU. A Python model cannot be told, and is refused if its
            class does not say `device = "cuda..."`.
        runtime: One of the manifest's `runtimes`, instead of the first that is installed and serves the device.
        gpu_memory: MB of the GPU's memory that the model may take; all if not given.

    Raises:
        UsageError: the manifest does not list `runtime`.
        EngineError: `runtime_missing`, `device_unavailable` or `model_invalid`.
    """
    chosen = choose_runtime(manifest, device=device, runtime=runtime)
    try:
        engine = _load(chosen, manifest, weights, threads, device, gpu_memory)
    except ImportError as e:
        extra = _extra(chosen, device)
        raise EngineError(
            f"{manifest.token} needs {chosen}, which is installed but cannot be imported ({e}); install it anew: "
            f"`pip install --force-reinstall 'billow-engines[{extra}]'`",
            code="runtime_missing",
        ) from e
    if device != "cpu" and not engine.device.startswith(device):
        found = engine.device
        engine.close()
        raise EngineError(
            f"{manifest.token} was to run on {device} and runs on {found}; start it without BILLOW_DEVICE, or give it "
            "a model that uses the GPU",
            code="device_unavailable",
        )
    return engine


def choose_runtime(manifest: Manifest, *, device: Device = "cpu", runtime: Runtime | None = None) -> Runtime:
    """What `load_engine` would take; imports nothing.

    Raises:
        UsageError: the manifest does not list `runtime`.
        EngineError: `runtime_missing`: none of those that could is installed; `device_unavailable`: none could.
    """
    if runtime is not None and runtime not in manifest.runtimes:
        raise UsageError(
            f"{manifest.token} cannot be run by {runtime}; its manifest lists {', '.join(manifest.runtimes)}. "
            "Choose one of these with BILLOW_RUNTIME, or leave it empty."
        )
    wanted: tuple[Runtime, ...] = manifest.runtimes if runtime is None else (runtime,)
    able: list[Runtime] = [name for name in wanted if name in _SERVES[device]]
    if not able:
        raise EngineError(
            f"{manifest.token} cannot run on {device}: {' and '.join(wanted)} does not; start it without "
            "BILLOW_DEVICE, or choose another runtime",
            code="device_unavailable",
        )
    for name in able:
        # The python runtime is this interpreter.
        if name == "python" or importlib.util.find_spec(name) is not None:
            return name
    extra = _extra(able[0], device)
    raise EngineError(
        f"{manifest.token} needs {' or '.join(able)}, which is not installed: "
        f"`pip install 'billow-engines[{extra}]'`, or in a checkout "
        f"`uv sync --inexact --package billow-engines --extra {extra}`",
        code="runtime_missing",
    )


def _extra(runtime: Runtime, device: Device) -> str:
    return "onnxruntime-gpu" if runtime == "onnxruntime" and device != "cpu" else runtime


def _load(
    runtime: Runtime,
    manifest: Manifest,
    weights: Path | None,
    threads: int | None,
    device: Device,
    gpu_memory: int | None,
) -> Engine:
    if runtime == "python":
        from billow.engines.runtimes.python_runtime import PythonEngine

        return PythonEngine(manifest)
    if weights is None:
        raise EngineError(f"{manifest.token} cannot be loaded without its weights", code="model_invalid")
    match runtime:
        case "openvino":
            from billow.engines.runtimes.openvino_runtime import OpenvinoEngine

            return OpenvinoEngine(weights, threads=threads)
        case "onnxruntime":
            from billow.engines.runtimes.onnxruntime_runtime import OnnxruntimeEngine

            return OnnxruntimeEngine(weights, threads=threads, device=device, gpu_memory=gpu_memory)
        case "tensorflow":
            from billow.engines.runtimes.tensorflow_runtime import TensorflowEngine

            signature = (manifest.tensorflow or TensorflowModel()).signature
            return TensorflowEngine(
                weights,
                signature=signature,
                threads=threads,
                device="cpu" if device == "cpu" else "cuda",
                gpu_memory=gpu_memory,
            )
