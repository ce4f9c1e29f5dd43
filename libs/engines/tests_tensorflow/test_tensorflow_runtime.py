"""A SavedModel becomes an engine. Needs tensorflow, which is large and so has an environment of its own."""
# pyright: reportMissingImports=false, reportMissingModuleSource=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUntypedFunctionDecorator=false, reportAttributeAccessIssue=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedBaseClass=false
# pyright: reportUnknownArgumentType=false

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from billow.engines.catalog import Catalog
from billow.engines.checksums import sha256_of
from billow.engines.errors import EngineError, WeightsError
from billow.engines.load import load_engine
from billow.engines.manifest import Manifest
from billow.engines.protocol import Engine
from billow.engines.weights import verify

MANIFEST = """
name = "doubling"
version = "1.0.0"
task = "token-classification"
runtimes = ["tensorflow"]
licence = "Apache-2.0"
description = "A toy."
[weights]
kind = "file"
file = "saved_model"
sha256 = "{sha256}"
"""


class Doubling(tf.Module):
    """y = 2 x, and greetings."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = tf.Variable(tf.constant(2.0))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def double(self, x):
        return {"y": x * self.factor}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])
    def greet(self, words):
        return {"greetings": tf.strings.join([words, tf.constant(", ça va?")])}


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder as a user would make it."""
    folder = tmp_path_factory.mktemp("doubling")
    module = Doubling()
    signatures = {"serving_default": module.double, "greet": module.greet}
    tf.saved_model.save(module, str(folder / "saved_model"), signatures=signatures)
    extra = folder / "saved_model" / "assets.extra"
    extra.mkdir()
    (extra / "character.txt").write_text("a\nb\nç", encoding="utf-8")
    return folder


def _write(folder: Path, more: str = "") -> Manifest:
    (folder / "manifest.toml").write_text(MANIFEST.format(sha256=sha256_of(folder / "saved_model")) + more)
    return Catalog([folder]).get("doubling")


def _load(folder: Path, more: str = "") -> Engine:
    manifest = _write(folder, more)
    return load_engine(manifest, verify(manifest, folder / "cache"), threads=1)


def test_it_computes_by_its_default_signature_and_says_what_it_is(model_folder: Path) -> None:
    engine = _load(model_folder)
    for rows in (1, 3, 2):
        x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
        outputs = engine.run({"x": x})
        assert list(outputs) == ["y"]
        np.testing.assert_array_equal(outputs["y"], x * 2)
        assert outputs["y"].dtype == np.float32
    assert engine.device == "cpu"
    assert dict(engine.metadata) == {"character": "a\nb\nç"}


@pytest.mark.parametrize("dtype", [object, "U"])
def test_another_signature_is_a_line_of_the_manifest_and_text_stays_text(model_folder: Path, dtype: object) -> None:
    engine = _load(model_folder, '[tensorflow]\nsignature = "greet"\n')
    words = np.array(["Zoë", ""], dtype=dtype)  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert engine.run({"words": words})["greetings"].tolist() == ["Zoë, ça va?", ", ça va?"]


def test_a_signature_that_is_not_there(model_folder: Path) -> None:
    with pytest.raises(EngineError, match=r"no signature 'predict' \(there are: .*greet") as caught:
        _load(model_folder, '[tensorflow]\nsignature = "predict"\n')
    assert caught.value.code == "model_invalid"


@pytest.mark.parametrize(
    "inputs",
    [
        {"z": np.zeros((1, 2), np.float32)},
        {"x": np.zeros((1, 3), np.float32)},
        {"x": np.zeros((1, 2), np.float64)},
        {},
    ],
)
def test_a_wrong_input_is_an_error_and_the_engine_goes_on(model_folder: Path, inputs: dict[str, np.ndarray]) -> None:
    engine = _load(model_folder)
    with pytest.raises(EngineError) as caught:
        engine.run(inputs)
    assert caught.value.code == "inference_failed"
    assert engine.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[2.0, 2.0]]


def test_closed_is_closed(model_folder: Path) -> None:
    engine = _load(model_folder)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"x": np.ones((1, 2), np.float32)})


def test_one_changed_file_of_the_folder_is_found_before_it_is_loaded(model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(model_folder, folder)
    manifest = _write(folder)
    (folder / "saved_model" / "assets.extra" / "character.txt").write_text("x")
    with pytest.raises(WeightsError) as caught:
        verify(manifest, tmp_path / "cache")
    assert caught.value.code == "weights_mismatch"


def test_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "notes.txt").write_text("nothing")
    with pytest.raises(EngineError, match="tensorflow cannot load") as caught:
        _load(tmp_path)
    assert caught.value.code == "model_invalid"


def test_a_gpu_that_is_not_there_is_refused(model_folder: Path) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    manifest = _write(model_folder)
    with pytest.raises(EngineError, match="tensorflow finds no GPU") as caught:
        load_engine(manifest, model_folder / "saved_model", device="cuda", gpu_memory=1000)
    assert caught.value.code == "device_unavailable"
