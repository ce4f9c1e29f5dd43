"""A manifest says what a model is, and a bad one says what is wrong with it."""

import datetime
from pathlib import Path

import pytest

from billow.engines.errors import ManifestError
from billow.engines.manifest import Manifest, read_manifest
from billow.engines.manifest_weights import FileWeights, UrlWeights, WheelWeights

WHEEL = """
name = "lines-small"
version = "1.2.3"
task = "text-recognition"
runtimes = ["onnxruntime"]
licence = "Apache-2.0"
description = "Reads lines."

[weights]
kind = "wheel"
package = "toymodels"
package_version = "1.0"
path = "toymodels/lines.onnx"
sha256 = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
size = 7

[batching]
max_batch = 8
max_wait_ms = 2

[limits]
max_items = 64

[parameters]
height = 48
mean = [0.5, 0.5, 0.5]
"""

PYTHON = """
name = "rules"
version = "1.0.0"
task = "token-classification"
runtimes = ["python"]
licence = "Apache-2.0"
description = "Rules."

[python]
entrypoint = "rules_model:RulesModel"
"""


def _read(folder: Path, text: str) -> Manifest:
    path = folder / "manifest.toml"
    path.write_text(text)
    return read_manifest(path)


def test_everything_that_a_manifest_states_arrives(tmp_path: Path) -> None:
    manifest = _read(tmp_path, WHEEL)
    assert manifest.token == "lines-small_1-2-3"
    assert manifest.runtimes == ("onnxruntime",)
    assert manifest.task == "text-recognition"
    assert isinstance(manifest.weights, WheelWeights)
    assert (manifest.weights.path, manifest.weights.size) == ("toymodels/lines.onnx", 7)
    assert (manifest.batching.max_batch, manifest.batching.max_wait_ms) == (8, 2.0)
    assert (manifest.limits.max_items, manifest.limits.max_pixels) == (64, None)
    assert manifest.parameters == {"height": 48, "mean": [0.5, 0.5, 0.5]}
    assert manifest.folder == tmp_path


def test_a_python_model_needs_no_weights(tmp_path: Path) -> None:
    manifest = _read(tmp_path, PYTHON)
    assert manifest.weights is None
    assert manifest.python is not None and manifest.python.entrypoint == "rules_model:RulesModel"
    assert (manifest.batching.max_batch, manifest.batching.max_wait_ms) == (1, 0.0)


FIGURE = """
[[accuracy]]
data_set = "400 receipts"
metric = "word F1"
value = 0.95
together_with = ["boxes_1-0-0"]
measured = 2026-11-22
command = "make bench-accuracy DATA=tills"
"""


def test_figures_and_origin_arrive(tmp_path: Path) -> None:
    origin = f'[origin]\nmodel = "lines_1-0-0"\nsha256 = "{"c" * 64}"\nmade_by = "billow models cut lines"\n'
    manifest = _read(tmp_path, WHEEL + FIGURE + FIGURE.replace("word F1", "line accuracy") + origin)
    assert [figure.metric for figure in manifest.accuracy] == ["word F1", "line accuracy"]
    first = manifest.accuracy[0]
    assert (first.value, first.measured, first.together_with) == (0.95, datetime.date(2026, 11, 22), ("boxes_1-0-0",))
    assert manifest.origin is not None and manifest.origin.model == "lines_1-0-0"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("metric =", "metrik =", ["unknown key `accuracy[0].metrik`", "data_set, metric, value"]),
        ("value = 0.95", 'value = "95 %"', ["`accuracy[0].value`"]),
        ("measured = 2026-11-22", "", ["`accuracy[0].measured` is missing"]),
    ],
)
def test_a_figure_without_what_makes_it_one(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    with pytest.raises(ManifestError) as caught:
        _read(tmp_path, WHEEL + FIGURE.replace(old, new))
    assert all(part in str(caught.value) for part in said), str(caught.value)


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://models.example.org/v1/lines.onnx", True),
        ("http://10.0.0.1:8000/lines.onnx?version=2", True),
        ("file:///srv/models/lines.onnx", True),
        ("ftp://example.org/lines.onnx", False),
        ("https://user:secret@example.org/lines.onnx", False),
        ("https://example.org/", False),
        ("https://example.org/..", False),
        ("lines.onnx", False),
    ],
)
def test_an_address_names_a_file_and_holds_no_password(tmp_path: Path, url: str, fine: bool) -> None:
    wheel_table = WHEEL[WHEEL.index("[weights]") : WHEEL.index("[batching]")]
    url_table = f'[weights]\nkind = "url"\nurl = "{url}"\nsha256 = "{"b" * 64}"\nsize = 7\n'
    text = WHEEL.replace(wheel_table, url_table)
    if fine:
        assert _read(tmp_path, text).weights == UrlWeights(url=url, sha256="b" * 64, size=7)
        return
    with pytest.raises(ManifestError, match=r"`weights\.url`.*no user and password"):
        _read(tmp_path, text)


def test_weights_may_be_a_local_file(tmp_path: Path) -> None:
    wheel_table = WHEEL[WHEEL.index("[weights]") : WHEEL.index("[batching]")]
    manifest = _read(
        tmp_path, WHEEL.replace(wheel_table, f'[weights]\nkind = "file"\nfile = "x.onnx"\nsha256 = "{"b" * 64}"\n')
    )
    assert manifest.weights == FileWeights(file="x.onnx", sha256="b" * 64)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('name = "lines-small"', 'name = "Lines Small"', ["`name`", "joined by '-'"]),
        ('name = "lines-small"', 'name = "lines_small"', ["`name`"]),
        ('name = "lines-small"', f'name = "{"a" * 64}"', ["1 to 64 characters"]),
        ('name = "lines-small"', "", ["`name` is missing"]),
        ('name = "lines-small"', 'nme = "lines-small"', ["unknown key `nme`", "name, version, task"]),
        ('name = "lines-small"', 'name = "lines-small"\nfolder = "/x"', ["unknown key `folder`"]),
        ('"1.2.3"', '"1.2"', ["`version`", "MAJOR.MINOR.PATCH"]),
        ('"1.2.3"', "1.2", ["`version`", "MAJOR.MINOR.PATCH"]),
        ('"text-recognition"', '"ocr"', ["`task`", "text-detection", "token-classification"]),
        ('"onnxruntime"', '"tensorrt"', ["`runtimes[0]`", '"openvino"', '"python"']),
        ('["onnxruntime"]', '"onnxruntime"', ["`runtimes`", "a list", '"openvino"']),
        ('["onnxruntime"]', "[]", ["`runtimes`", "a list of one or more"]),
        ('["onnxruntime"]', '["openvino", "openvino"]', ["`runtimes` names one of them twice"]),
        ('["onnxruntime"]', '["openvino", "tensorflow"]', ['"tensorflow" stands alone']),
        ('["onnxruntime"]', '["onnxruntime", "python"]', ['"python" stands alone']),
        ("runtimes =", "runtime =", ["unknown key `runtime`", "runtimes"]),
        ("[batching]", '[tensorflow]\nsignature = "a"\n[batching]', ["[tensorflow]", "only for runtime"]),
        ('kind = "wheel"', 'kind = "hub"', ["`weights.kind`", '"wheel"', '"url"', '"file"']),
        ('kind = "wheel"', 'kind = "url"', ["unknown key `weights.package`", "allowed here: kind, url, sha256, size"]),
        ('kind = "wheel"', "", ["`weights.kind` is missing", '"wheel"']),
        ('package = "toymodels"', 'package = "--index-url=x"', ["`weights.package`"]),
        ('package_version = "1.0"', 'package_version = "1.0,>2"', ["`weights.package_version`", "exact version"]),
        ('sha256 = "a', 'sha256 = "A', ["`weights.sha256`", "64 of 0-9 and a-f"]),
        ("size = 7", "size = 0", ["`weights.size`"]),
        ("size = 7", 'size = "7"', ["`weights.size`", "bytes"]),
        ("max_wait_ms = 2", "max_wait = 2", ["unknown key `batching.max_wait`", "max_batch, max_wait_ms"]),
        ("max_batch = 8", "max_batch = 0", ["`batching.max_batch`"]),
        ("[batching]", '[python]\nentrypoint = "a:B"\n[batching]', ["[python]"]),
        ("[weights]", "[weights", ["not valid TOML", "line"]),
    ],
)
def test_a_bad_manifest_names_file_key_and_what_is_allowed(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    with pytest.raises(ManifestError) as caught:
        _read(tmp_path, WHEEL.replace(old, new, 1))
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "manifest.toml"))
    for part in said:
        assert part in message
    assert "regex" not in message
    assert caught.value.code == "manifest_invalid"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('[python]\nentrypoint = "rules_model:RulesModel"', "", "needs a table [python]"),
        ("[python]", f'[weights]\nkind = "file"\nfile = "a"\nsha256 = "{"a" * 64}"\n[python]', "takes no [weights]"),
        ("rules_model:RulesModel", "rules_model.RulesModel", "module:Class"),
        ("rules_model:RulesModel", "../evil:Model", "module:Class"),
        ('"python"', '"onnxruntime"', "needs a table [weights]"),
    ],
)
def test_a_runtime_gets_the_tables_that_it_needs_and_no_others(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ManifestError) as caught:
        _read(tmp_path, PYTHON.replace(old, new, 1))
    assert said in str(caught.value)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be read: No such file"):
        read_manifest(tmp_path / "manifest.toml")


def test_a_manifest_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "manifest.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="not valid TOML"):
        read_manifest(tmp_path / "manifest.toml")
