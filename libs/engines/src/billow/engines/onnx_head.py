"""The last layer of an ONNX recogniser, made smaller."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# onnx is typed in parts only; nothing untyped leaves this module.

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

try:
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper
except ImportError as e:
    from billow.engines.errors import EngineError

    raise EngineError(
        "rewriting weights needs the package onnx, which is not installed: `pip install 'billow-engines[build]'`, or "
        "in a checkout `uv sync --inexact --package billow-engines --extra build`",
        code="runtime_missing",
    ) from e

from billow.engines.errors import EngineError

_PASS = frozenset({"Softmax", "LogSoftmax", "Sigmoid", "Identity", "Cast"})
"""Operators after the last layer that treat all classes alike."""
_PER_CLASS = frozenset({"Add", "Mul"})
"""Operators with one parameter a class."""
_CHARACTERS = "character"
"""Key of the metadata that lists the characters, one a line."""

Axis = int


class OnnxHead:
    """An ONNX model whose only output has one number a class, and the parameters that make it so."""

    def __init__(self, weights: Path) -> None:
        """Read the file.

        Raises:
            EngineError: `model_invalid`: it is no ONNX model with one output.
        """
        try:
            self._model: ModelProto = onnx.load(weights)
        except (OSError, DecodeError, ValueError) as e:
            raise EngineError(f"{weights} is no ONNX file that can be read: {e}", code="model_invalid") from e
        if len(self._model.graph.output) != 1:
            names = ", ".join(output.name for output in self._model.graph.output)
            raise EngineError(
                f"{weights} has the outputs {names or '(none)'}; only a model with one can be cut", code="model_invalid"
            )

    @property
    def characters(self) -> str | None:
        """The list in the file's metadata, as it stands there."""
        return next((entry.value for entry in self._model.metadata_props if entry.key == _CHARACTERS), None)

    def keep(self, classes: Sequence[int], *, of: int, characters: str) -> bytes:
        """The model with only these classes, in this order.

        Every number before the last layer stays as it is; a softmax after it spreads over fewer classes.

        Args:
            classes: Indices, each below `of`.
            of: Classes that the model has.
            characters: New list for the metadata.

        Returns:
            An ONNX file; the same bytes for the same question.

        Raises:
            EngineError: `model_invalid`: what ends in the output is not a MatMul or Gemm with `of` columns.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        parameters = _head(graph, tensors, of)
        uses = Counter(name for node in graph.node for name in node.input)
        for name, axis in parameters.items():
            if uses[name] > 1:
                raise _unlike(f"{name} is used by {uses[name]} layers")
            whole = numpy_helper.to_array(tensors[name])
            part = np.ascontiguousarray(np.take(whole, classes, axis=axis))
            tensors[name].CopyFrom(numpy_helper.from_array(part, name))
        _set_output(graph, len(classes))
        entry = next((entry for entry in model.metadata_props if entry.key == _CHARACTERS), None)
        if entry is None:
            entry = model.metadata_props.add(key=_CHARACTERS)
        entry.value = characters
        return model.SerializeToString(deterministic=True)


def _head(graph: GraphProto, tensors: dict[str, TensorProto], classes: int) -> dict[str, Axis]:
    """Walk from the output to the last layer; the tensors with one slice a class, and the axis of their classes."""
    makers: dict[str, NodeProto] = {name: node for node in graph.node for name in node.output}
    found: dict[str, Axis] = {}
    name = graph.output[0].name
    while True:
        node = makers.get(name)
        if node is None:
            raise _unlike("nothing computes the output")
        if node.op_type in _PASS:
            name = node.input[0]
        elif node.op_type in _PER_CLASS:
            name, parameter = _split(node, tensors)
            if np.prod(tensors[parameter].dims) > 1:
                found[parameter] = _class_axis(tensors[parameter], classes, -1)
        elif node.op_type in {"MatMul", "Gemm"}:
            if node.input[1] not in tensors:
                raise _unlike(f"its weights, {node.input[1]}, are computed and not stored")
            across = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            found[node.input[1]] = _class_axis(tensors[node.input[1]], classes, 0 if across else -1)
            if len(node.input) > 2 and node.input[2] in tensors and np.prod(tensors[node.input[2]].dims) > 1:
                found[node.input[2]] = _class_axis(tensors[node.input[2]], classes, -1)
            return found
        else:
            raise _unlike(f"a {node.op_type} stands between the output and the last layer")


def _split(node: NodeProto, tensors: dict[str, TensorProto]) -> tuple[str, str]:
    """The computed and the stored input of an operator with two."""
    stored = [name for name in node.input if name in tensors]
    computed = [name for name in node.input if name not in tensors]
    if len(stored) != 1 or len(computed) != 1:
        raise _unlike(f"a {node.op_type} of two computed tensors stands between the output and the last layer")
    return computed[0], stored[0]


def _class_axis(tensor: TensorProto, classes: int, axis: Axis) -> Axis:
    if not tensor.dims or tensor.dims[axis] != classes:
        raise _unlike(f"{tensor.name} has the shape {list(tensor.dims)}, and the model has {classes} classes")
    return axis


def _set_output(graph: GraphProto, classes: int) -> None:
    """State the new number of classes, and drop the shapes noted between the layers, which may be wrong now."""
    dims = graph.output[0].type.tensor_type.shape.dim
    if dims:
        dims[-1].dim_value = classes
    del graph.value_info[:]


def _unlike(why: str) -> EngineError:
    return EngineError(
        f"the last layer of these weights cannot be cut: {why}. It takes a MatMul or Gemm with stored weights, one "
        "column a class, and after it nothing but a bias and a softmax",
        code="model_invalid",
    )
