"""An ONNX model becomes an engine, whichever runtime runs it.

The model is written here, byte by byte, so that no other package is needed.
"""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from billow.engines.errors import EngineError
from billow.engines.load import Device, load_engine
from billow.engines.manifest import Manifest, Runtime
from billow.engines.protocol import Engine
from billow.engines.runtimes.exhaustion import ran_out
from billow.engines.runtimes.onnxruntime_runtime import OnnxruntimeEngine, cuda_options
from billow.engines.runtimes.openvino_runtime import OpenvinoEngine
from billow.runtime.errors import UsageError

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


SMALL_PROCESS = """
import resource, sys
from pathlib import Path
import numpy as np
from billow.engines.errors import EngineError
from billow.engines.runtimes.exhaustion import ran_out
from billow.engines.runtimes.onnxruntime_runtime import OnnxruntimeEngine

engine = OnnxruntimeEngine(Path(sys.argv[1]), threads=1)
engine.run({"x": np.ones((1, 2), np.float32)})
large = np.ones((10_000_000, 2), np.float32)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, used + 50_000_000))
try:
    engine.run({"x": large})
except EngineError as e:
    print(e.code)
print(engine.run({"x": np.ones((1, 2), np.float32)})["y"].tolist())
"""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "doubling.onnx"
    path.write_bytes(doubling_model())
    return path


@pytest.fixture
def manifest(wheel_model: Callable[[str, str, bytes], Manifest]) -> Manifest:
    return wheel_model("doubling", "doubling.onnx", doubling_model())


@pytest.fixture(params=["openvino", "onnxruntime"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return request.param


@pytest.fixture
def engine(weights: Path, manifest: Manifest, runtime: Runtime) -> Engine:
    return load_engine(manifest, weights, threads=1, runtime=runtime)


def test_it_computes_for_every_shape_and_says_what_it_is(engine: Engine) -> None:
    for rows in (1, 3, 2):
        x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        outputs = engine.run({"x": x})
        assert list(outputs) == ["y"]
        np.testing.assert_array_equal(outputs["y"], x * 2)
    assert engine.device == "cpu"
    assert dict(engine.metadata) == {"character": "a\nb\nç"}


@pytest.mark.parametrize("class_", [OpenvinoEngine, OnnxruntimeEngine])
def test_it_names_its_inputs_and_outputs(weights: Path, class_: type[OpenvinoEngine | OnnxruntimeEngine]) -> None:
    engine = class_(weights)
    assert (engine.input_names, engine.output_names) == (("x",), ("y",))


def test_an_answer_is_not_overwritten_by_the_next_run(engine: Engine) -> None:
    first = engine.run({"x": np.ones((1, 2), np.float32)})["y"]
    engine.run({"x": np.zeros((1, 2), np.float32)})
    assert first.tolist() == [[2.0, 2.0]]
    first[:] = 7.0


def test_an_input_need_not_be_contiguous(engine: Engine) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4).T[:, ::-1]
    np.testing.assert_array_equal(engine.run({"x": x})["y"], x * 2)


def test_both_runtimes_compute_the_same(weights: Path) -> None:
    x = np.linspace(-3.0, 3.0, 12, dtype=np.float32).reshape(6, 2)
    ours, theirs = (class_(weights).run({"x": x})["y"] for class_ in (OpenvinoEngine, OnnxruntimeEngine))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "inputs",
    [
        {"z": np.zeros((1, 2), np.float32)},
        {"x": np.zeros((1, 3), np.float32)},
        {"x": np.zeros((1, 2), np.float64)},
        {},
    ],
)
def test_a_wrong_input_is_an_error_and_the_engine_goes_on(engine: Engine, inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(EngineError) as caught:
        engine.run(inputs)
    assert caught.value.code == "inference_failed"
    assert engine.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2.0, 2.0]]


def test_openvino_spreads_over_its_threads_and_mixes_up_no_answers(weights: Path) -> None:
    engine = OpenvinoEngine(weights, threads=3)
    assert engine.spread() == 3

    def double(x: NDArray[np.float32]) -> NDArray[Any]:
        return engine.run({"x": x})["y"]

    inputs = [np.full((1 + number % 5, 2), number, np.float32) for number in range(200)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(double, inputs))
    for x, answer in zip(inputs, answers, strict=True):
        np.testing.assert_array_equal(answer, x * 2)
    assert dict(engine.metadata) == {"character": "a\nb\nç"}
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"x": inputs[0]})


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (RuntimeError("std::bad_alloc"), True),
        (
            RuntimeError("bfc_arena.cc:360 BFCArena: Failed to allocate memory for requested buffer of size 141557760"),
            True,
        ),
        (RuntimeError("CUDA failure 2: out of memory ; GPU=0"), True),
        (RuntimeError("Can not allocate 141557760 bytes"), True),
        (RuntimeError("OOM when allocating tensor with shape[64,3,48,960]"), True),
        (RuntimeError("Got invalid dimensions for input: x"), False),
        (ValueError("no room"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_failures(error: Exception, memory: bool) -> None:
    assert ran_out(error) is memory


def test_running_out_of_memory_is_an_error_of_its_own_and_the_engine_goes_on(weights: Path, tmp_path: Path) -> None:
    """A process of its own, since it is the one whose memory ends."""
    script = tmp_path / "small.py"
    script.write_text(SMALL_PROCESS)
    done = subprocess.run([sys.executable, script, weights], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == ["out_of_memory", "[[2.0, 2.0]]"], done.stderr


def test_closed_is_closed(engine: Engine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"x": np.ones((1, 2), np.float32)})


def test_a_file_that_is_no_model(weights: Path, manifest: Manifest, runtime: Runtime) -> None:
    weights.write_bytes(b"this is text")
    with pytest.raises(EngineError, match=r"cannot load .*doubling\.onnx") as caught:
        load_engine(manifest, weights, runtime=runtime)
    assert caught.value.code == "model_invalid"
    assert "src/" not in str(caught.value), "not where in its own source the runtime noticed"


def test_weights_are_asked_for(manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="without its weights"):
        load_engine(manifest, None)


def test_the_preferred_runtime_is_taken_the_next_one_if_it_is_not_installed(
    weights: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert manifest.runtimes == ("openvino", "onnxruntime")
    assert isinstance(load_engine(manifest, weights), OpenvinoEngine)
    assert isinstance(load_engine(manifest, weights, runtime="onnxruntime"), OnnxruntimeEngine)
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert isinstance(load_engine(manifest, weights), OnnxruntimeEngine)


@pytest.mark.parametrize(
    ("runtime", "device", "extra"),
    [(None, "cpu", "openvino"), ("onnxruntime", "cpu", "onnxruntime"), (None, "cuda", "onnxruntime-gpu")],
)
def test_a_missing_runtime_names_the_command_that_installs_it(
    weights: Path,
    manifest: Manifest,
    monkeypatch: pytest.MonkeyPatch,
    runtime: Runtime | None,
    device: Device,
    extra: str,
) -> None:
    for name in manifest.runtimes:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError) as caught:
        load_engine(manifest, weights, runtime=runtime, device=device)
    assert caught.value.code == "runtime_missing"
    assert f"pip install 'billow-engines[{extra}]'" in str(caught.value)
    assert f"uv sync --inexact --package billow-engines --extra {extra}" in str(caught.value)


def test_a_broken_runtime_is_not_passed_over_in_silence(
    weights: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "billow.engines.runtimes.openvino_runtime")
    monkeypatch.delattr("openvino.Core")
    with pytest.raises(EngineError, match=r"cannot be imported.*--force-reinstall") as caught:
        load_engine(manifest, weights)
    assert caught.value.code == "runtime_missing"


def test_a_runtime_that_the_manifest_does_not_list(weights: Path, manifest: Manifest) -> None:
    with pytest.raises(UsageError, match="cannot be run by tensorflow; its manifest lists openvino, onnxruntime"):
        load_engine(manifest, weights, runtime="tensorflow")


def test_openvino_has_no_cuda(weights: Path, manifest: Manifest) -> None:
    with pytest.raises(EngineError, match="cannot run on cuda: openvino does not") as caught:
        load_engine(manifest, weights, runtime="openvino", device="cuda")
    assert caught.value.code == "device_unavailable"


def test_a_gpu_that_is_not_there_is_refused(weights: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a GPU in this machine, and with onnxruntime-gpu, which falls back to the processor silently."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(EngineError) as caught:
        load_engine(manifest, weights, device="cuda", gpu_memory=500)
    assert caught.value.code == "device_unavailable"
    assert "nvidia-smi" in str(caught.value) and "billow-engines[cuda]" in str(caught.value)


def test_a_gpu_is_shared_with_care() -> None:
    assert cuda_options(None) == {
        "device_id": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
    }
    assert cuda_options(1500)["gpu_mem_limit"] == "1500000000"


def test_openvino_speaks_to_nobody(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left alone, its mere import reports to an analytics service and writes an id into the home folder."""
    script = (
        "import sys, numpy, pathlib\n"
        "def audit(event, args):\n"
        "    if event.startswith(('socket.connect', 'socket.getaddrinfo', 'urllib', 'subprocess', 'os.fork')):\n"
        "        print(event, args)\n"
        "sys.addaudithook(audit)\n"
        "from billow.engines.runtimes.openvino_runtime import OpenvinoEngine\n"
        "engine = OpenvinoEngine(pathlib.Path(sys.argv[1]), threads=1)\n"
        "engine.run({'x': numpy.ones((1, 2), numpy.float32)})\n"
        "engine.close()\n"
        "print([*pathlib.Path.home().iterdir()])\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "home").mkdir()
    assert _python(script, weights) == "[]"


def test_a_python_model_never_imports_another_runtime(python_model: Callable[..., Manifest]) -> None:
    source = "class Toy:\n  def __init__(self, m, f): pass\n  def run(self, i): return {}"
    manifest = python_model({"toy.py": source})
    script = (
        "import sys; from pathlib import Path\n"
        "from billow.engines.catalog import Catalog\n"
        "from billow.engines.load import load_engine\n"
        "from billow.engines.weights import pull_all\n"
        "load_engine(Catalog([Path(sys.argv[1])]).get('toy'), None)\n"
        "print({'openvino', 'onnxruntime', 'tensorflow'} & sys.modules.keys())\n"
    )
    assert _python(script, manifest.folder) == "set()"


def _python(script: str, argument: Path) -> str:
    done = subprocess.run([sys.executable, "-c", script, str(argument)], capture_output=True, text=True, check=True)
    return done.stdout.strip()
