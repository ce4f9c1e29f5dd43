"""ONNX models on the CPU, or on an NVIDIA GPU, by onnxruntime."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# onnxruntime has no types; nothing untyped leaves this module.

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import onnxruntime as ort
from numpy.typing import NDArray

from billow.engines.errors import EngineError
from billow.engines.protocol import Tensors
from billow.engines.runtimes.cores import available_cores
from billow.engines.runtimes.exhaustion import OUT_OF_MEMORY, ran_out

_FATAL_AND_ERROR_ONLY = 3
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
_FIRST = {"cpu": _CPU, "cuda": _CUDA, "tensorrt": _TENSORRT}

_FELL_BACK = "onnxruntime could not use the GPU and fell back to the processor"

_Provider = str | tuple[str, dict[str, str]]


class OnnxruntimeEngine:
    """A session on one device. Inputs and outputs are named as in the weights file."""

    def __init__(
        self,
        weights: Path,
        *,
        threads: int | None = None,
        device: Literal["cpu", "cuda", "tensorrt"] = "cpu",
        gpu_memory: int | None = None,
        arena: bool = True,
    ) -> None:
        """Load and optimise the graph.

        Args:
            weights: Already verified.
            threads: For one `run()`; as many as this process has cores if not given.
            device: `cuda` is the first GPU that this process sees; `tensorrt` is the same one by TensorRT, which builds
                an engine for the model at the first start (minutes) and keeps it beside the weights.
            gpu_memory: MB of the GPU's memory that the session may take; no limit if not given.
            arena: Let onnxruntime keep freed memory for the next run. Off, glibc's own caches end up holding more: on
                lines and pages of changing size the peak was 1.2 to 1.5 times as high, and nothing ran faster.

        Raises:
            EngineError: `model_invalid`, the file is no model that onnxruntime can run; `device_unavailable`, the
                session did not get the GPU.
        """
        providers = [_CPU] if device == "cpu" else _gpu_providers(device, gpu_memory, weights.parent)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or available_cores()
        options.inter_op_num_threads = 1
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = _FATAL_AND_ERROR_ONLY
        # A thread that spins while it waits takes the core from the other processes of the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A pattern is planned and kept for each shape, and every page and batch of lines has its own: with patterns the
        # resident size grew by a fifth to a third, and nothing ran faster.
        options.enable_mem_pattern = False
        options.enable_cpu_mem_arena = arena
        try:
            # It prints that it falls back, and our logs are on stdout.
            with contextlib.redirect_stdout(io.StringIO()):
                session = ort.InferenceSession(str(weights), options, providers=providers)
        except Exception as e:  # its errors share no base class but this
            raise EngineError(f"onnxruntime cannot load {weights}: {e}", code="model_invalid") from e
        # Whatever they lack, a library or a free GPU, onnxruntime only logs it and goes on with the next provider.
        if (got := session.get_providers()[0]) != _FIRST[device]:
            raise _no_tensorrt(got) if device == "tensorrt" else _no_gpu(_FELL_BACK)
        self._device = "cpu" if device == "cpu" else f"{device}:0"
        self._session: ort.InferenceSession | None = session
        self._metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self._input_names: tuple[str, ...] = tuple(node.name for node in session.get_inputs())
        self._output_names: tuple[str, ...] = tuple(node.name for node in session.get_outputs())

    @property
    def device(self) -> str:
        """`cpu`, `cuda:0` or `tensorrt:0`."""
        return self._device

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's custom metadata."""
        return self._metadata

    @property
    def input_names(self) -> tuple[str, ...]:
        """As in the weights file, in its order."""
        return self._input_names

    @property
    def output_names(self) -> tuple[str, ...]:
        """As in the weights file, in its order."""
        return self._output_names

    def run(self, inputs: Tensors) -> Tensors:
        """Compute every output.

        Raises:
            EngineError: `out_of_memory`; `inference_failed`: a name, shape or type that the model does not take; also
                after `close`.
        """
        if self._session is None:
            raise EngineError("the engine is closed; load the model again", code="inference_failed")
        try:
            outputs = cast(list[NDArray[Any]], self._session.run(None, dict(inputs)))
        except Exception as e:  # its errors share no base class but this
            code = OUT_OF_MEMORY if ran_out(e) else "inference_failed"
            raise EngineError(f"onnxruntime cannot run the model: {e}", code=code) from e
        return dict(zip(self._output_names, outputs, strict=True))

    def close(self) -> None:
        """Drop the session. Safe to call twice."""
        self._session = None


def _gpu_providers(device: Literal["cuda", "tensorrt"], gpu_memory: int | None, cache: Path) -> list[_Provider]:
    """What was asked for first. The others stay in the list: single operators without a kernel run there."""
    if _FIRST[device] not in ort.get_available_providers():
        raise _no_gpu("this onnxruntime is built for the processor only")
    # CUDA and cuDNN may lie in wheels, where the loader does not look; what it prints would spoil our logs.
    with contextlib.redirect_stdout(io.StringIO()):
        ort.preload_dlls()
    providers: list[_Provider] = [(_CUDA, cuda_options(gpu_memory)), _CPU]
    if device == "tensorrt":
        providers.insert(0, (_TENSORRT, tensorrt_options(gpu_memory, cache)))
    return providers


def cuda_options(gpu_memory: int | None) -> dict[str, str]:
    """What the CUDA provider is told; `gpu_memory` in MB."""
    options = {
        "device_id": "0",
        # An exhaustive search is repeated for every new width of a batch, and costs more than it gains.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Doubling, the default, takes up to twice what is needed from the others on a shared GPU.
        "arena_extend_strategy": "kSameAsRequested",
    }
    if gpu_memory:
        options["gpu_mem_limit"] = str(gpu_memory * 1_000_000)
    return options


def tensorrt_options(gpu_memory: int | None, cache: Path) -> dict[str, str]:
    """What the TensorRT provider is told; `gpu_memory` in MB, its scratch space; `cache` is where engines are kept."""
    options = {
        "device_id": "0",
        # An engine is built for one GPU and one range of shapes, and that takes minutes.
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(cache / "tensorrt"),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache / "tensorrt"),
    }
    if gpu_memory:
        options["trt_max_workspace_size"] = str(gpu_memory * 1_000_000)
    return options


def _no_tensorrt(got: str) -> EngineError:
    return EngineError(
        f"onnxruntime could not use TensorRT and fell back to {got}. Check that `nvidia-smi` lists a GPU here and that "
        "TensorRT 10, CUDA 13 and cuDNN 9 are installed; or start with BILLOW_DEVICE=cuda",
        code="device_unavailable",
    )


def _no_gpu(what: str) -> EngineError:
    return EngineError(
        f"{what}. Check that `nvidia-smi` lists a GPU here, with a driver of version 580 or newer, and that CUDA 13 "
        "and cuDNN 9 are installed: `pip install 'billow-engines[cuda]'` brings them, in an environment without the "
        "package onnxruntime, which has the same module. Or start without BILLOW_DEVICE to use the processor",
        code="device_unavailable",
    )
