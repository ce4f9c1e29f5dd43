"""ONNX models on the CPU."""
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# onnxruntime has no types; nothing untyped leaves this module.

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import onnxruntime as ort
from numpy.typing import NDArray

from billow.engines.errors import EngineError
from billow.engines.protocol import Tensors

_FATAL_AND_ERROR_ONLY = 3
_PROVIDER = "CPUExecutionProvider"


class OnnxruntimeEngine:
    """A session on the CPU. Inputs and outputs are named as in the weights file."""

    def __init__(self, weights: Path, *, threads: int | None = None, arena: bool = True) -> None:
        """Load and optimise the graph.

        Args:
            weights: Already verified.
            threads: For one `run()`; as many as this process has cores if not given.
            arena: Let onnxruntime keep freed memory for the next run. Off, glibc's own caches end up holding more: on
                lines and pages of changing size the peak was 1.2 to 1.5 times as high, and nothing ran faster.

        Raises:
            EngineError: `model_invalid`, the file is no model that onnxruntime can run.
        """
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
            session = ort.InferenceSession(str(weights), options, providers=[_PROVIDER])
        except Exception as e:  # its errors share no base class but this
            raise EngineError(f"onnxruntime cannot load {weights}: {e}", code="model_invalid") from e
        self._session: ort.InferenceSession | None = session
        self._metadata: dict[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self._input_names: tuple[str, ...] = tuple(node.name for node in session.get_inputs())
        self._output_names: tuple[str, ...] = tuple(node.name for node in session.get_outputs())

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
        return self._input_names

    @property
    def output_names(self) -> tuple[str, ...]:
        """As in the weights file, in its order."""
        return self._output_names

    def run(self, inputs: Tensors) -> Tensors:
        """Compute every output.

        Raises:
            EngineError: `inference_failed`: a name, shape or type that the model does not take, or no memory left;
                also after `close`.
        """
        if self._session is None:
            raise EngineError("the engine is closed; load the model again", code="inference_failed")
        try:
            outputs = cast(list[NDArray[Any]], self._session.run(None, dict(inputs)))
        except Exception as e:  # its errors share no base class but this
            raise EngineError(f"onnxruntime cannot run the model: {e}", code="inference_failed") from e
        return dict(zip(self._output_names, outputs, strict=True))

    def close(self) -> None:
        """Drop the session. Safe to call twice."""
        self._session = None


def available_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
