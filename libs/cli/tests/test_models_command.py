"""`billow models show`, `check` and `cut` as a user meets them, on models good and bad."""
# pyright: reportUnknownMemberType=false
# onnx is typed in parts only.

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper

from billow.cli.stack.stack import asked_models, with_defaults
from billow.engines.catalog import Catalog
from billow.engines.settings import model_folders
from billow.runtime.errors import UsageError
from billow.schemas.inference import Detections, DetectText, Recognitions, RecognizeCrops
from billow.services.worker.composition import load_model
from billow.services.worker.settings import WorkerSettings
from billow.vision.crops import crop
from billow.vision.geometry import from_quad
from billow.vision.transport import CROP, encode

MANIFEST = (
    'name = "{name}"\nversion = "1.0.0"\ntask = "{task}"\nruntimes = ["{runtime}"]\n'
    'licence = "MIT"\ndescription = "A toy."\n'
)
SAMPLES = ("receipt-cafe.jpg", "receipt-market.jpg")

pytestmark = pytest.mark.timeout(600)


def billow(*args: str | Path, **environ: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "billow.cli", *map(str, args)],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "300", "BILLOW_NATS_URL": "nats://127.0.0.1:9", **environ},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def detector(models: Path, name: str, last: str, *, more: str = "", sha256: str = "") -> Path:
    """An ONNX detector whose map is the mean of the channels after one more operator."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1], keepdims=1),
            helper.make_node(last, ["mean"], ["map"]),
        ],
        "toy",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, "height", "width"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data = model.SerializeToString()
    folder = models / name
    folder.mkdir()
    (folder / "toy.onnx").write_bytes(data)
    (folder / "manifest.toml").write_text(
        MANIFEST.format(name=name, task="text-detection", runtime="onnxruntime")
        + f'[weights]\nkind = "file"\nfile = "toy.onnx"\nsha256 = "{sha256 or hashlib.sha256(data).hexdigest()}"\n'
        + f'[parameters]\ninput_name = "image"\n{more}'
    )
    return folder


def classifier(models: Path, name: str, answer: str) -> Path:
    """A Python model whose `run` is one line."""
    folder = models / name
    folder.mkdir()
    (folder / "toy.py").write_text(
        "import numpy as np\n\n\nclass Toy:\n    def __init__(self, manifest, folder):\n        pass\n\n"
        f"    def run(self, inputs):\n        {answer}\n"
    )
    (folder / "manifest.toml").write_text(
        MANIFEST.format(name=name, task="token-classification", runtime="python") + '[python]\nentrypoint = "toy:Toy"\n'
    )
    return folder


GOOD = 'return {"labels": np.array(["", "total"]), "scores": np.ones(2), "groups": np.array([-1, -1])}'


def test_models_that_can_be_served_pass_with_how_fast_they_are(models: Path) -> None:
    detector(models, "ink", "Sigmoid")
    classifier(models, "words", GOOD)
    code, out, err = billow("models", "check", models)
    assert (code, err) == (0, "")
    assert "FAILED" not in out
    assert out.count(" ms for ") == 2
    for said in ("ink_1-0-0", "words_1-0-0", "onnxruntime", "as pinned", "two words are labelled (nothing), total"):
        assert said in out
    assert billow("models", "check", "words", BILLOW_MODELS=str(models))[0] == 0, "by name"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ('raise RuntimeError("no luck")', "no luck"),
        ('return {"labels": np.array(["", "price"]), "scores": np.ones(2), "groups": -np.ones(2)}', "unknown labels"),
        ('return {"labels": np.array([""]), "scores": np.ones(2), "groups": -np.ones(2)}', "1 labels for 2 words"),
        ('return {"labels": np.array(["", ""])}', "no output 'scores'"),
    ],
)
def test_what_a_worker_would_refuse_fails_the_check(models: Path, answer: str, said: str) -> None:
    classifier(models, "words", answer)
    code, out, _ = billow("models", "check", "words", BILLOW_MODELS=str(models))
    assert code == 1
    assert "FAILED run" in out and said in out


def test_each_fault_is_told_and_the_other_models_are_tried_all_the_same(models: Path) -> None:
    detector(models, "a-logits", "Exp")
    detector(models, "b-tampered", "Sigmoid", sha256="0" * 64)
    detector(models, "c-parameters", "Sigmoid", more="shrt_side = 3\n")
    (detector(models, "d-gone", "Sigmoid") / "toy.onnx").unlink()
    (models / "e-broken").mkdir()
    (models / "e-broken" / "manifest.toml").write_text("name = 1")
    classifier(models, "f-good", GOOD)
    code, out, err = billow("models", "check", models)
    assert (code, err) == (1, "")
    assert "0..1 (export the model with its last sigmoid" in out
    assert "expected sha256 " + "0" * 64 in out
    assert "shrt_side" in out
    assert "its weights are not at" in out
    assert "e-broken/manifest.toml: key `name`" in out
    assert out.count("FAILED") == 5
    assert out.rstrip().endswith("(median of 5)"), "the good one was tried too"


def test_a_name_or_a_folder_without_a_model_is_wrong_usage(models: Path) -> None:
    code, _, err = billow("models", "check", models)
    assert code == 2 and "no manifest.toml" in err
    code, _, err = billow("models", "check", "ruls")
    assert code == 2 and "did you mean 'rules'?" in err
    code, _, err = billow("models", "show", "ruls")
    assert code == 2 and "did you mean 'rules'?" in err


def test_show_tells_all_of_a_model_and_what_this_machine_makes_of_it(tmp_path: Path) -> None:
    code, out, err = billow("models", "show", "ppocr-v6-rec-small", BILLOW_RUNTIME="openvino")
    assert (code, err) == (0, "")
    for said in (
        "ppocr-v6-rec-small_1-0-0",
        "text-recognition",
        "here openvino on cpu",
        "rapidocr/models/PP-OCRv6_rec_small.onnx of the package rapidocr 3.10.0",
        "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        "21,234,383 bytes, as pinned",
        "18,708 characters",
        "word F1 0.9567",
        "together with ppocr-v6-det-small_1-0-0",
        "Apache-2.0",
        "ppocr-v6-rec-small/README.md",
    ):
        assert said in out
    assert "served by" not in out, "there is no stack"
    _, out, _ = billow("models", "show", "ppocr-v6-rec-small", BILLOW_MODEL_CACHE=str(tmp_path))
    assert "not pulled: `billow models pull ppocr-v6-rec-small`" in out
    _, out, _ = billow("models", "show", "rules")
    assert "none needed" in out and "here python" in out


def test_the_services_ask_for_what_is_served_beside_them(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector(models, "ink", "Sigmoid")
    detector(models, "pen", "Sigmoid")
    both = os.pathsep.join(map(str, (*model_folders({}), models)))
    monkeypatch.setenv("BILLOW_MODELS", both)
    assert asked_models(["pen", "ink"]) == {"BILLOW_DETECTION_MODEL": "pen_1-0-0"}
    assert asked_models(with_defaults(["ink"])) == {
        "BILLOW_DETECTION_MODEL": "ink_1-0-0",
        "BILLOW_RECOGNITION_MODEL": Catalog(model_folders({})).get("ppocr-v6-rec-small").token,
        "BILLOW_LAYOUT_MODEL": Catalog(model_folders({})).get("rules").token,
    }
    assert with_defaults([]) == ("ppocr-v6-det-small", "ppocr-v6-rec-small", "rules")
    with pytest.raises(UsageError, match="did you mean 'ink'"):
        with_defaults(["inc"])


def test_a_cut_recogniser_reads_receipts_as_the_whole_one(models: Path, root: Path) -> None:
    code, out, err = billow("models", "cut", "ppocr-v6-rec-small", "--to", models)
    assert (code, err) == (0, "")
    assert "18,710 -> 417" in out and f"{models} billow models check ppocr-v6-rec-small-latin" in out
    code, out, _ = billow("models", "check", models)
    assert code == 0, out
    catalog = Catalog([*model_folders({}), models])
    crops = lines_of([root / "samples" / name for name in SAMPLES])
    whole, cut = (read(catalog, name, crops) for name in ("ppocr-v6-rec-small", "ppocr-v6-rec-small-latin"))
    assert len(whole.texts) > 30
    assert cut.texts == whole.texts
    assert all(after >= before - 0.001 for before, after in zip(whole.confidences, cut.confidences, strict=True))
    code, _, err = billow("models", "cut", "ppocr-v6-rec-small", "--to", models)
    assert code == 2 and "is there already" in err


@pytest.mark.component
def test_the_services_of_a_temporary_stack_ask_for_the_model_that_was_chosen(models: Path, root: Path) -> None:
    assert billow("models", "cut", "ppocr-v6-rec-small", "--name", "mine", "--to", models)[0] == 0
    folders = os.pathsep.join(map(str, (*model_folders({}), models)))
    environ = {"BILLOW_MODELS": folders, "BILLOW_NATS_URL": ""}
    cafe = root / "samples" / SAMPLES[0]
    code, out, _ = billow("extract", "--model", "mine", cafe, **environ)
    assert code == 0
    assert json.loads(out)["fields"]["total"]["text"] == "46.86"


def lines_of(pictures: Sequence[Path]) -> tuple[bytes, ...]:
    """The lines of these pictures, cut out and encoded as they travel."""
    detector, engine = load_model(Catalog(model_folders({})).get("ppocr-v6-det-small"), WorkerSettings())
    crops: list[bytes] = []
    for path in pictures:
        data = path.read_bytes()
        (answer,) = detector.run([DetectText(image=data)])
        assert isinstance(answer.output, Detections)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        crops += [encode(crop(image.astype(np.uint8), from_quad(quad)), CROP) for quad in answer.output.quads]
    engine.close()
    return tuple(crops)


def read(catalog: Catalog, name: str, crops: tuple[bytes, ...]) -> Recognitions:
    model, engine = load_model(catalog.get(name), WorkerSettings())
    (answer,) = model.run([RecognizeCrops(crops=crops)])
    engine.close()
    assert isinstance(answer.output, Recognitions)
    return answer.output


def test_a_cut_that_cannot_be_made_says_why(models: Path, tmp_path: Path) -> None:
    (tmp_path / "till.txt").write_text("1\n2\nẵ\n")
    cut = ("models", "cut", "ppocr-v6-rec-small", "--to", models)
    code, _, err = billow(*cut, "--alphabet", tmp_path / "till.txt")
    assert code == 1 and "no character for ẵ" in err
    code, _, err = billow(*cut, "--alphabet", "klingon")
    assert code == 1 and "one of latin" in err
    code, _, err = billow("models", "cut", "rules", "--to", models)
    assert code == 2 and "no weights" in err
    assert list(models.iterdir()) == []


def test_an_alphabet_of_ones_own_with_what_samples_use(models: Path, tmp_path: Path) -> None:
    (tmp_path / "till.txt").write_text("0\n1\n2\n€\n")
    (tmp_path / "sample.txt").write_text("日本 ẵ 2\n")
    sample = ("--sample", tmp_path / "sample.txt", "--name", "till", "--version", "2.0.0")
    code, out, err = billow(
        *("models", "cut", "ppocr-v6-rec-small", "--to", models, "--alphabet", tmp_path / "till.txt"), *sample
    )
    assert (code, err) == (0, "")
    assert "-> 8," in out and "left out: ẵ" in out
    manifest = Catalog([models]).get("till_2-0-0")
    assert manifest.alphabet is not None and manifest.alphabet.size == 6
