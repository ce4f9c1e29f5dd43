"""A cut recogniser answers as the whole one does, within its alphabet."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# onnx is typed in parts only.

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from billow.engines.alphabet import Alphabet, find_alphabet
from billow.engines.catalog import Catalog
from billow.engines.cut import cut_model
from billow.engines.errors import AlphabetError, EngineError
from billow.engines.load import load_engine
from billow.engines.manifest import Manifest, read_manifest
from billow.engines.settings import model_cache, model_folders
from billow.engines.weights import pull, verify
from billow.runtime.errors import UsageError

KNOWN = "abcdefgh#é日本"
CLASSES = len(KNOWN) + 2
FEATURES = 5
Floats = NDArray[np.float32]
MakeReader = Callable[..., Manifest]


def head(kind: str, classes: int = CLASSES) -> tuple[list[NodeProto], list[TensorProto]]:
    """From `features` (N, steps, 5) to `scores`, as different exporters write it."""
    random = np.random.default_rng(7)
    weights = random.normal(size=(FEATURES, classes)).astype(np.float32)
    bias = random.normal(size=classes).astype(np.float32)
    stored = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")]
    node = helper.make_node
    if kind == "gemm":
        stored[0] = numpy_helper.from_array(np.ascontiguousarray(weights.T), "w")
        stored.append(numpy_helper.from_array(np.array([-1, FEATURES]), "flat"))
        return [
            node("Reshape", ["features", "flat"], ["rows"]),
            node("Gemm", ["rows", "w", "b"], ["scores"], transB=1),
        ], stored
    product = [node("MatMul", ["features", "w"], ["product"])]
    if kind == "shared":
        return [*product, node("Add", ["product", "b"], ["sum"]), node("Add", ["sum", "b"], ["scores"])], stored
    if kind == "conv":
        return [*product, node("Add", ["b", "product"], ["sum"]), node("Relu", ["sum"], ["scores"])], stored
    return [*product, node("Add", ["b", "product"], ["sum"]), node("Identity", ["sum"], ["scores"])], stored


@pytest.fixture
def reader(tmp_path: Path) -> MakeReader:
    """A CTC recogniser of five features a step, with or without a list of its characters in the file."""

    def make(kind: str = "matmul", *, classes: int = CLASSES, listed: bool = True, more: str = "") -> Manifest:
        nodes, stored = head(kind, classes)
        nodes.append(helper.make_node("Softmax", ["scores"], ["out"], axis=-1))
        steps: list[str | int] = ["rows"] if kind == "gemm" else ["n", "steps"]
        graph = helper.make_graph(
            nodes,
            "reader",
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", "steps", FEATURES])],
            [helper.make_tensor_value_info("out", TensorProto.FLOAT, [*steps, classes])],
            stored,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        if listed:
            helper.set_model_props(model, {"character": "\n".join(KNOWN), "maker": "us"})
        data = model.SerializeToString()
        folder = tmp_path / "reader"
        folder.mkdir()
        (folder / "reader.onnx").write_bytes(data)
        (folder / "manifest.toml").write_text(
            'name = "reader"\nversion = "2.1.0"\ntask = "text-recognition"\nruntimes = ["onnxruntime", "openvino"]\n'
            'licence = "MIT"\ndescription = "Reads."\n[weights]\nkind = "file"\nfile = "reader.onnx"\n'
            f'sha256 = "{hashlib.sha256(data).hexdigest()}"\n[parameters]\ninput_name = "features"\n'
            f"[batching]\nmax_batch = 4\n{more}"
        )
        return read_manifest(folder / "manifest.toml")

    return make


def run(manifest: Manifest, features: Floats) -> Floats:
    engine = load_engine(manifest, verify(manifest, model_cache()), threads=1)
    (output,) = engine.run({"features": features}).values()
    engine.close()
    return output.reshape(-1, output.shape[-1])


def alphabet(characters: Sequence[str], name: str = "some") -> Alphabet:
    return Alphabet(name=name, characters=tuple(characters))


@pytest.mark.parametrize("kind", ["matmul", "gemm"])
def test_kept_classes_keep_their_scores_relative_to_each_other(kind: str, reader: MakeReader, tmp_path: Path) -> None:
    whole = reader(kind)
    made = cut_model(whole, whole.folder / "reader.onnx", alphabet("éhac#"), tmp_path / "out")
    kept = [0, *(1 + KNOWN.index(character) for character in "ach#é"), CLASSES - 1]
    assert (made.classes_before, made.classes) == (CLASSES, len(kept))
    features = np.random.default_rng(1).normal(size=(1, 200, FEATURES)).astype(np.float32)
    before, after = run(whole, features)[:, kept], run(made.manifest, features)
    assert after.shape == (200, len(kept))
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    np.testing.assert_allclose(after, before / before.sum(axis=1, keepdims=True), atol=1e-6)
    assert (after.max(axis=1) >= before.max(axis=1) - 1e-6).all(), "confidences rise, and never fall"


def test_the_new_folder_says_all_of_the_new_model(reader: MakeReader, tmp_path: Path) -> None:
    whole = reader(more='[[accuracy]]\ndata_set = "d"\nmetric = "m"\nvalue = 1\nmeasured = 2026-01-02\ncommand = "c"\n')
    made = cut_model(whole, whole.folder / "reader.onnx", alphabet("abc", "till"), tmp_path / "out")
    manifest = Catalog([tmp_path / "out"]).get("reader-till_2-1-0")
    assert manifest == made.manifest
    assert manifest.alphabet is not None and (manifest.alphabet.name, manifest.alphabet.size) == ("till", 3)
    assert manifest.origin is not None and manifest.weights is not None and whole.weights is not None
    assert (manifest.origin.model, manifest.origin.sha256) == ("reader_2-1-0", whole.weights.sha256)
    assert manifest.parameters == {"input_name": "features"} and manifest.batching.max_batch == 4
    assert manifest.accuracy == (), "what was measured of the whole one does not hold for the cut one"
    assert manifest.licence == "MIT" and "MIT" in (manifest.folder / "README.md").read_text()
    engine = load_engine(manifest, verify(manifest, model_cache()))
    assert dict(engine.metadata) == {"character": "a\nb\nc", "maker": "us"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["reader-till"]


def test_the_same_question_gives_the_same_bytes(reader: MakeReader, tmp_path: Path) -> None:
    whole = reader()
    for to, order in (("one", "abc日"), ("two", "日cba")):
        cut_model(whole, whole.folder / "reader.onnx", alphabet(order), tmp_path / to)
    for name in ("manifest.toml", "weights.onnx", "README.md"):
        one, two = ((tmp_path / to / "reader-some" / name).read_bytes() for to in ("one", "two"))
        assert one == two


def test_characters_that_the_recogniser_never_knew(reader: MakeReader, tmp_path: Path) -> None:
    whole = reader()
    with pytest.raises(AlphabetError, match=r"no character for ẵя, .* out of the alphabet 'some'"):
        cut_model(whole, whole.folder / "reader.onnx", alphabet("aẵbя"), tmp_path / "out")
    with pytest.raises(AlphabetError, match="knows nothing"):
        cut_model(whole, whole.folder / "reader.onnx", alphabet("ẵ"), tmp_path / "out", strict=False)
    made = cut_model(whole, whole.folder / "reader.onnx", alphabet("aẵbя"), tmp_path / "out", strict=False)
    assert (made.unknown, made.classes) == (("ẵ", "я"), 4)


def test_a_list_beside_weights_without_one(reader: MakeReader, tmp_path: Path) -> None:
    whole = reader(listed=False, more='[alphabet]\nfile = "known.txt"\n')
    (whole.folder / "known.txt").write_text("\n".join(KNOWN))
    made = cut_model(whole, whole.folder / "reader.onnx", alphabet("日b"), tmp_path / "out")
    assert dict(load_engine(made.manifest, verify(made.manifest, model_cache())).metadata) == {"character": "b\n日"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kind": "conv"}, "a Relu stands between"),
        ({"kind": "shared"}, "b is used by 2 layers"),
        ({"classes": CLASSES + 1}, f"the model has {CLASSES} classes"),
        ({"listed": False}, "does not say which characters it knows"),
    ],
)
def test_weights_that_cannot_be_cut_are_refused_whole(
    arguments: dict[str, str], said: str, reader: MakeReader, tmp_path: Path
) -> None:
    whole = reader(**arguments)
    with pytest.raises(EngineError, match=said) as caught:
        cut_model(whole, whole.folder / "reader.onnx", alphabet("abc"), tmp_path / "out")
    assert caught.value.code == "model_invalid"
    assert not (tmp_path / "out").exists()


def test_what_is_no_onnx_file(reader: MakeReader, tmp_path: Path) -> None:
    whole = reader()
    (whole.folder / "reader.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(EngineError, match="no ONNX file"):
        cut_model(whole, whole.folder / "reader.onnx", alphabet("abc"), tmp_path / "out")


def test_a_folder_that_is_there_is_left_alone(reader: MakeReader, tmp_path: Path) -> None:
    whole = reader()
    (tmp_path / "out" / "mine").mkdir(parents=True)
    with pytest.raises(UsageError, match="is there already"):
        cut_model(whole, whole.folder / "reader.onnx", alphabet("abc"), tmp_path / "out", name="mine")
    assert list((tmp_path / "out" / "mine").iterdir()) == []


def test_the_alphabet_that_comes_along_fits_the_recogniser_that_comes_along(tmp_path: Path) -> None:
    whole = Catalog(model_folders({})).get("ppocr-v6-rec-small")
    weights = pull(whole, model_cache())
    assert weights is not None
    made = cut_model(whole, weights, find_alphabet("latin"), tmp_path)
    assert whole.alphabet is not None and whole.alphabet.size == made.classes_before - 2 == 18_708
    assert made.classes == len(find_alphabet("latin").characters) + 2
    assert made.unknown == ()
    assert made.size < 0.6 * made.size_before
    checked = onnx.load(made.manifest.folder / "weights.onnx")
    onnx.checker.check_model(checked)
    assert checked.graph.output[0].type.tensor_type.shape.dim[-1].dim_value == made.classes
