"""What `cuda` comes to on a machine without a GPU, by whichever of the two onnxruntime packages is installed.

They write the same module, so an environment has one of them: the development environment onnxruntime, that of
`make test-onnxruntime-gpu` the other.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from billow.engines.errors import EngineError
from billow.engines.load import load_engine
from billow.engines.manifest import Manifest

DOUBLING = (
    b'\x08\x08:L\n\x0e\n\x01x\n\x01x\x12\x01y"\x03Add\x12\x08doublingZ\x17\n\x01x\x12\x12\n\x10\x08\x01\x12\x0c\n\x06'
    b"\x12\x04rows\n\x02\x08\x02b\x17\n\x01y\x12\x12\n\x10\x08\x01\x12\x0c\n\x06\x12\x04rows\n\x02\x08\x02B\x04\n\x00"
    b"\x10\r"
)
"""An ONNX file: y = x + x, float32 of any number of rows by 2."""
WHY = {"onnxruntime": "is built for the processor only", "onnxruntime-gpu": "fell back to the processor"}


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a machine that has one."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "doubling.onnx"
    path.write_bytes(DOUBLING)
    return path


@pytest.fixture
def manifest(wheel_model: Callable[[str, str, bytes], Manifest]) -> Manifest:
    return wheel_model("doubling", "doubling.onnx", DOUBLING)


def installed_package() -> str:
    found = [package for package in WHY if _is_installed(package)]
    assert len(found) == 1, "two packages that write the same module, or none"
    wanted = os.environ.get("EXPECTED_ONNXRUNTIME", found[0])
    assert found == [wanted]
    return wanted


def test_the_fallback_to_the_processor_is_noticed(weights: Path, manifest: Manifest) -> None:
    with pytest.raises(EngineError, match=WHY[installed_package()]) as caught:
        load_engine(manifest, weights, device="cuda", runtime="onnxruntime", gpu_memory=500)
    assert caught.value.code == "device_unavailable"


def test_the_processor_computes_all_the_same(weights: Path, manifest: Manifest) -> None:
    engine = load_engine(manifest, weights, runtime="onnxruntime", threads=1)
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(engine.run({"x": x})["y"], x * 2)
    assert engine.device == "cpu"


def test_a_worker_that_is_told_to_use_a_gpu_says_why_it_cannot(weights: Path, manifest: Manifest) -> None:
    """In a process of its own, where what the loader prints would show."""
    script = (
        "import sys; from pathlib import Path\n"
        "from billow.engines.errors import EngineError\n"
        "from billow.engines.load import load_engine\n"
        "from billow.engines.manifest import read_manifest\n"
        "try: load_engine(read_manifest(Path(sys.argv[1])), Path(sys.argv[2]), device='cuda')\n"
        "except EngineError as e: print(e); sys.exit(1)\n"
    )
    command = [sys.executable, "-c", script, str(manifest.folder / "manifest.toml"), str(weights)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert WHY[installed_package()] in done.stdout
    assert "nvidia-smi" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    # There onnxruntime says which library it missed.
    assert "Traceback" not in done.stderr
