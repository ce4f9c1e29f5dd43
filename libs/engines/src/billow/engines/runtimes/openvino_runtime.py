"""ONNX models on the CPU, by OpenVINO."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# openvino is typed in parts only; nothing untyped leaves this module.

import sys
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from billow.engines.errors import EngineError
from billow.engines.protocol import Tensors
from billow.engines.runtimes.cores import available_cores
from billow.engines.runtimes.exhaustion import OUT_OF_MEMORY, ran_out

# `import openvino` imports its model converter, which forks and reports the import to an analytics service, with an id
# that it keeps in the home folder. It does without the converter when that cannot be imported, and so do we.
sys.modules.setdefault("openvino.tools.ovc", None)  # pyright: ignore[reportArgumentType, reportCallIssue]
from openvino import Core, InferRequest, Model, PartialShape  # noqa: E402


class OpenvinoEngine:
    """A compiled model on the CPU. Inputs and outputs are named as in the weights file.

    Its telemetry stays off: nothing goes over the network.
    """

    def __init__(self, weights: Path, *, threads: int | None = None) -> None:
        """Read and compile the graph.

        Args:
            weights: Already verified; an ONNX file.
            threads: For one `run()`; as many as this process has cores if not given.

        Raises:
            EngineError: `model_invalid`, the file is no model that OpenVINO can run.
        """
        self._weights = weights
        self._threads = threads or available_cores()
        self._free: SimpleQueue[InferRequest] | None = None
        model = self._compile(1)
        self._metadata = _metadata(model)

    def _compile(self, streams: int) -> Model:
        """(Re)build the requests, as many as `streams`; returns what was read."""
        core = Core()
        try:
            model = core.read_model(self._weights)
            compiled = core.compile_model(model, "CPU", _options(self._threads, streams))
        except Exception as e:  # its errors share no base class but this
            raise EngineError(f"openvino cannot load {self._weights}: {_brief(e)}", code="model_invalid") from e
        self._inputs = {
            port.any_name: (np.dtype(port.element_type.to_dtype()), port.partial_shape) for port in compiled.inputs
        }
        self._output_names: tuple[str, ...] = tuple(port.any_name for port in compiled.outputs)
        # A request keeps its model alive.
        self._free = SimpleQueue()
        for _ in range(streams):
            self._free.put(compiled.create_infer_request())
        return model

    def spread(self) -> int:
        """From now on give each run one thread, and let as many run at once; for models of many small inputs.

        Call it before the first `run()`.

        Returns:
            How many threads may call `run()` at the same time.
        """
        if self._threads > 1:
            self._compile(self._threads)
        return self._threads

    @property
    def device(self) -> str:
        """Always `cpu`."""
        return "cpu"

    @property
    def metadata(self) -> Mapping[str, str]:
        """The file's custom metadata."""
        return self._metadata

    @property
    def input_names(self) -> tuple[str, ...]:
        """As in the weights file, in its order."""
        return tuple(self._inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """As in the weights file, in its order."""
        return self._output_names

    def run(self, inputs: Tensors) -> Tensors:
        """Compute every output; the arrays belong to the caller. Waits while more threads than `spread` said run.

        Raises:
            EngineError: `out_of_memory`; `inference_failed`: a name, shape or type that the model does not take; also
                after `close`.
        """
        free = self._free
        if free is None:
            raise EngineError("the engine is closed; load the model again", code="inference_failed")
        self._check(inputs)
        request = free.get()
        try:
            outputs = request.infer(dict(inputs), share_inputs=True)
            arrays: list[NDArray[Any]] = [outputs[index] for index in range(len(self._output_names))]
        except Exception as e:  # its errors share no base class but this
            code = OUT_OF_MEMORY if ran_out(e) else "inference_failed"
            raise EngineError(f"openvino cannot run the model: {_brief(e)}", code=code) from e
        finally:
            free.put(request)
        return dict(zip(self._output_names, arrays, strict=True))

    def close(self) -> None:
        """Drop the compiled model. Safe to call twice."""
        self._free = None

    def _check(self, inputs: Tensors) -> None:
        """What OpenVINO would let pass: it converts types silently, and reuses an earlier input for one not given."""
        if inputs.keys() != self._inputs.keys():
            raise EngineError(
                f"the model takes the inputs {', '.join(self._inputs)}; given were {', '.join(inputs) or 'none'}",
                code="inference_failed",
            )
        for name, array in inputs.items():
            dtype, shape = self._inputs[name]
            if array.dtype != dtype:
                raise EngineError(f"input {name} must be {dtype}, not {array.dtype}", code="inference_failed")
            if not shape.compatible(PartialShape(list(array.shape))):
                raise EngineError(f"input {name} must be {shape}, not {list(array.shape)}", code="inference_failed")


def _options(threads: int, streams: int) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        # Several workers share a machine; pinned, their threads would sit on the same cores.
        "ENABLE_CPU_PINNING": False,
        # Else a processor with AMX or AVX512-BF16 computes in bfloat16 unasked, and reads otherwise than its neighbour.
        "INFERENCE_PRECISION_HINT": "f32",
    }


def _metadata(model: Model) -> dict[str, str]:
    """OpenVINO keeps the `metadata_props` of an ONNX file below `framework`."""
    if not model.has_rt_info("framework"):
        return {}
    return {str(key): str(value) for key, value in model.get_rt_info("framework").value.items()}


def _brief(error: Exception) -> str:
    """The last line of its message; the ones before name lines of OpenVINO's own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
