"""What [limits] and [alphabet] of a manifest do to the requests of a worker."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from billow.engines.manifest import Manifest, read_manifest
from billow.engines.protocol import Tensors
from billow.runtime.errors import PermanentError
from billow.schemas.geometry import Page, Word
from billow.schemas.inference import Classifications, ClassifyTokens, DetectText, Recognitions, RecognizeCrops
from billow.services.worker.composition import dress
from billow.testkit.engines import FakeEngine

QUAD = (1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 1.0, 4.0)


def manifest(folder: Path, task: str, more: str) -> Manifest:
    runtime = "python" if task == "token-classification" else "onnxruntime"
    table = (
        '[python]\nentrypoint = "a:B"\n'
        if runtime == "python"
        else (f'[weights]\nkind = "file"\nfile = "x.onnx"\nsha256 = "{"a" * 64}"\n')
    )
    (folder / "manifest.toml").write_text(
        f'name = "toy"\nversion = "1.0.0"\ntask = "{task}"\nruntimes = ["{runtime}"]\nlicence = "MIT"\n'
        f'description = "A toy."\n{table}{more}'
    )
    return read_manifest(folder / "manifest.toml")


def png(width: int, height: int) -> bytes:
    return cv2.imencode(".png", np.full((height, width, 3), 255, np.uint8))[1].tobytes()


def words(count: int) -> ClassifyTokens:
    return ClassifyTokens(pages=(Page(width=9, height=9),), words=(Word(text="1.00", quad=QUAD),) * count)


def test_a_document_with_too_many_words_is_refused_and_its_neighbours_are_not(tmp_path: Path) -> None:
    engine = FakeEngine(
        lambda inputs: {
            "labels": np.full(len(inputs["words"]), "total"),
            "scores": np.ones(len(inputs["words"])),
            "groups": np.full(len(inputs["words"]), -1),
        }
    )
    model = dress(manifest(tmp_path, "token-classification", "[limits]\nmax_items = 3\n"), engine)
    first, second, third = model.run([words(2), words(4), words(3)])
    assert isinstance(first.output, Classifications) and isinstance(third.output, Classifications)
    assert second.error is not None and second.error.code == "too_many_words"
    assert "4 words" in second.error.message and "takes 3" in second.error.message
    assert [len(seen["words"]) for seen in engine.seen] == [2, 3], "the model never saw the large one"


def test_images_beyond_the_limit_cost_no_model_time(tmp_path: Path) -> None:
    engine = FakeEngine(lambda inputs: {"map": np.zeros((1, 1, *inputs["x"].shape[2:]), np.float32)})
    model = dress(manifest(tmp_path, "text-detection", "[limits]\nmax_pixels = 10000\n"), engine)
    small, large, broken = model.run([DetectText(image=image) for image in (png(100, 100), png(101, 100), b"x")])
    assert small.error is None and small.output is not None
    assert large.error is not None and large.error.code == "image_too_large"
    assert "101 x 100 px" in large.error.message
    assert broken.error is not None and broken.error.code == "undecodable_payload"
    assert len(engine.seen) == 1


def test_too_many_crops_in_one_request(tmp_path: Path) -> None:
    engine = FakeEngine(
        lambda inputs: {"out": np.zeros((len(inputs["x"]), 4, 3), np.float32)}, metadata={"character": "a"}
    )
    model = dress(manifest(tmp_path, "text-recognition", "[limits]\nmax_items = 2\nmax_pixels = 5000\n"), engine)
    requests = [(png(60, 48),) * 2, (png(60, 48),) * 3, (png(200, 48),)]
    fits, many, wide = model.run([RecognizeCrops(crops=crops) for crops in requests])
    assert isinstance(fits.output, Recognitions) and len(fits.output.texts) == 2
    assert many.error is not None and many.error.code == "too_many_crops"
    assert wide.error is not None and wide.error.code == "image_too_large"


def test_weights_without_a_list_take_the_file_that_the_manifest_names(tmp_path: Path) -> None:
    def answer(inputs: Tensors) -> Tensors:
        scores = np.zeros((len(inputs["x"]), 4, 4), np.float32)
        scores[:, [0, 1, 2, 3], [1, 0, 2, 3]] = 1.0
        return {"out": scores}

    more = '[alphabet]\nfile = "known.txt"\n'
    (tmp_path / "known.txt").write_text("é\n#\n")
    model = dress(manifest(tmp_path, "text-recognition", more), FakeEngine(answer))
    (answered,) = model.run([RecognizeCrops(crops=(png(60, 48),))])
    assert isinstance(answered.output, Recognitions) and answered.output.texts == ("é# ",)
    (tmp_path / "known.txt").write_text("é\n\n#\n")
    with pytest.raises(PermanentError, match=r"known\.txt, line 2") as caught:
        dress(manifest(tmp_path, "text-recognition", more), FakeEngine(answer))
    assert caught.value.code == "alphabet_invalid"
