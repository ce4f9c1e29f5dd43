"""An ONNX model becomes an engine; the model is written here, byte by byte, so that no other package is needed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from billow.engines.errors import EngineError
from billow.engines.load import load_engine
from billow.engines.manifest import Manifest
from billow.engines.runtimes.onnxruntime_runtime import OnnxruntimeEngine

FLOAT = 1


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, value: int | str | bytes) -> bytes:
    """One protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str) -> bytes:
    """ValueInfoProto of floats, any number of rows by 2."""
    shape = _field(1, _field(2, "rows")) + _field(1, _field(1, 2))
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, shape)))


def doubling_model() -> bytes:
    """ModelProto: y = x + x, with one entry of metadata. Field numbers as in onnx.proto3."""
    node = _field(1, "x") + _field(1, "x") + _field(2, "y") + _field(4, "Add")
    graph = _field(1, node) + _field(2, "doubling") + _field(11, _tensor("x")) + _field(12, _tensor("y"))
    metadata = _field(1, "character") + _field(2, "a\nb\nç")
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13)) + _field(14, metadata)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "doubling.onnx"
    path.write_bytes(doubling_model())
    return path


@pytest.fixture
def manifest(wheel_model: Callable[[str, str, bytes], Manifest]) -> Manifest:
    return wheel_model("doubling", "doubling.onnx", doubling_model())


def test_it_computes_for_every_shape_and_says_what_it_is(weights: Path, manifest: Manifest) -> None:
    engine = load_engine(manifest, weights, threads=1)
    for rows in (1, 3, 2):
        x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        outputs = engine.run({"x": x})
        assert list(outputs) == ["y"]
        np.testing.assert_array_equal(outputs["y"], x * 2)
    assert engine.device == "cpu"
    assert dict(engine.metadata) == {"character": "a\nb\nç"}


def test_it_names_its_inputs_and_outputs(weights: Path) -> None:
    engine = OnnxruntimeEngine(weights)
    assert (engine.input_names, engine.output_names) == (("x",), ("y",))


@pytest.mark.parametrize(
    "inputs",
    [
        {"z": np.zeros((1, 2), np.float32)},
        {"x": np.zeros((1, 3), np.float32)},
        {"x": np.zeros((1, 2), np.float64)},
        {},
    ],
)
def test_a_wrong_input_is_an_error_and_the_engine_goes_on(
    weights: Path, manifest: Manifest, inputs: dict[str, np.ndarray]
) -> None:
    engine = load_engine(manifest, weights, threads=1)
    with pytest.raises(EngineError) as caught:
        engine.run(inputs)
    assert caught.value.code == "inference_failed"
    assert engine.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2.0, 2.0]]


def test_closed_is_closed(weights: Path, manifest: Manifest) -> None:
    engine = load_engine(manifest, weights, threads=1)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"x": np.ones((1, 2), np.float32)})


def test_a_file_that_is_no_model(weights: Path, manifest: Manifest) -> None:
    weights.write_bytes(b"this is text")
    with pytest.raises(EngineError, match=r"cannot load .*doubling\.onnx") as caught:
        load_engine(manifest, weights)
    assert caught.value.code == "model_invalid"


def test_a_missing_runtime_names_the_command_that_installs_it(
    weights: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError) as caught:
        load_engine(manifest, weights)
    assert caught.value.code == "runtime_missing"
    assert "pip install 'billow-engines[onnxruntime]'" in str(caught.value)
    assert "uv sync" in str(caught.value)


def test_weights_are_asked_for(manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="without its weights"):
        load_engine(manifest, None)


def test_a_python_model_never_imports_onnxruntime(python_model: Callable[..., Manifest]) -> None:
    source = "class Toy:\n  def __init__(self, m, f): pass\n  def run(self, i): return {}"
    manifest = python_model({"toy.py": source})
    script = (
        "import sys; from pathlib import Path\n"
        "from billow.engines.catalog import Catalog\n"
        "from billow.engines.load import load_engine\n"
        "from billow.engines.weights import pull_all\n"
        "load_engine(Catalog([Path(sys.argv[1])]).get('toy'), None)\n"
        "print('onnxruntime' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(manifest.folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
