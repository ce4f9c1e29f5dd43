"""What the settings of a worker make of a model."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from billow.engines.catalog import Catalog
from billow.engines.manifest import Batching, Manifest
from billow.runtime.errors import PermanentError, UsageError
from billow.runtime.settings import load
from billow.services.worker.composition import items_at_once, load_model
from billow.services.worker.settings import WorkerSettings
from billow.services.worker.tasks.classification import TokenClassification
from billow.services.worker.tasks.detection import TextDetection


@pytest.fixture
def models(tmp_path: Path, ink_weights: bytes) -> Path:
    """`ink`, an ONNX detector that two runtimes can run, and `toy`, a Python class."""
    ink, toy = tmp_path / "models" / "ink", tmp_path / "models" / "toy"
    ink.mkdir(parents=True)
    toy.mkdir()
    (ink / "ink.onnx").write_bytes(ink_weights)
    (ink / "manifest.toml").write_text(
        'name = "ink"\nversion = "1.0.0"\ntask = "text-detection"\nruntimes = ["openvino", "onnxruntime"]\n'
        'licence = "MIT"\ndescription = "Finds what is dark."\n[weights]\nkind = "file"\nfile = "ink.onnx"\n'
        f'sha256 = "{hashlib.sha256(ink_weights).hexdigest()}"\n[parameters]\ninput_name = "image"\n'
    )
    (toy / "toy.py").write_text(
        "class Toy:\n    def __init__(self, manifest, folder): pass\n    def run(self, inputs): return {}\n"
    )
    (toy / "manifest.toml").write_text(
        'name = "toy"\nversion = "1.0.0"\ntask = "token-classification"\nruntimes = ["python"]\n'
        'licence = "MIT"\ndescription = "A toy."\n[python]\nentrypoint = "toy:Toy"\n'
    )
    return tmp_path / "models"


@pytest.fixture
def ink(models: Path) -> Manifest:
    return Catalog([models]).get("ink")


def settings(**environ: str) -> WorkerSettings:
    return load(WorkerSettings, environ={f"BILLOW_{name.upper()}": value for name, value in environ.items()})


@pytest.mark.parametrize(
    ("forced", "module"), [("", "openvino"), ("openvino", "openvino"), ("onnxruntime", "onnxruntime")]
)
def test_the_setting_chooses_among_the_runtimes_of_the_manifest(ink: Manifest, forced: str, module: str) -> None:
    model, engine = load_model(ink, settings(runtime=forced, threads="1"))
    assert isinstance(model, TextDetection)
    assert type(engine).__module__.endswith(f".{module}_runtime")
    model.warm_up()


def test_a_runtime_that_the_manifest_does_not_list_is_wrong_usage(ink: Manifest) -> None:
    with pytest.raises(UsageError, match="BILLOW_RUNTIME"):
        load_model(ink, settings(runtime="tensorflow"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("runtime", "tensorrt"), ("device", "gpu"), ("gpu_memory", "-1"), ("threads", "-1"), ("run_limit", "-1")],
)
def test_a_setting_that_cannot_be_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"BILLOW_{name.upper()}"):
        settings(**{name: value})


def test_a_worker_told_to_use_a_gpu_does_not_fall_back(ink: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(PermanentError) as caught:
        load_model(ink, settings(device="cuda", gpu_memory="500"))
    assert caught.value.code == "device_unavailable"


def test_its_process_says_why_and_ends_with_1(models: Path) -> None:
    environ = os.environ | {"BILLOW_MODELS": str(models), "BILLOW_DEVICE": "cuda", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "billow.services.worker", "ink"]
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True, timeout=150)
    assert done.returncode == 1
    assert "nvidia-smi" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_python_model_starts_beside_those_that_use_the_gpu(models: Path) -> None:
    model, engine = load_model(Catalog([models]).get("toy"), settings(device="cuda", runtime="onnxruntime"))
    assert isinstance(model, TokenClassification)
    assert engine.device == "cpu"


def test_a_manifest_may_ask_for_larger_turns(ink: Manifest) -> None:
    assert items_at_once(ink) == 1, "one page keeps the processor busy"
    assert items_at_once(msgspec.structs.replace(ink, batching=Batching(max_batch=6))) == 6
