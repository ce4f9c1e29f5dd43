"""A class in the model's folder becomes an engine."""

import sys
from collections.abc import Callable

import numpy as np
import pytest

from billow.engines.errors import EngineError
from billow.engines.load import load_engine
from billow.engines.manifest import Manifest

MakeModel = Callable[..., Manifest]

TOY = """
import numpy as np

class Toy:
    def __init__(self, manifest, folder):
        self.word = (folder / "word.txt").read_text() + manifest.version
        self.closed = 0

    def run(self, inputs):
        return {"answers": np.array([self.word + text for text in inputs["texts"]], object)}
"""


def _answers(manifest: Manifest) -> list[str]:
    outputs = load_engine(manifest, None).run({"texts": np.array(["a", "b"], object)})
    return [str(text) for text in outputs["answers"]]


def test_the_class_gets_manifest_and_folder_and_answers(python_model: MakeModel) -> None:
    manifest = python_model({"toy.py": TOY, "word.txt": "hi "})
    assert _answers(manifest) == ["hi 1.0.0a", "hi 1.0.0b"]
    engine = load_engine(manifest, None)
    assert (engine.device, dict(engine.metadata)) == ("cpu", {})
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"texts": np.array([], object)})


def test_modules_of_a_model_import_each_other_and_leave_sys_path_alone(python_model: MakeModel) -> None:
    before = list(sys.path)
    manifest = python_model(
        {
            "toy/__init__.py": "from .model import Toy",
            "toy/model.py": "from .words import WORD\nfrom ..beside import MARK\n"
            "class Toy:\n"
            "    device = 'abacus'\n"
            "    metadata = {'word': WORD + MARK}\n"
            "    def __init__(self, manifest, folder): pass\n"
            "    def run(self, inputs): return {}\n",
            "toy/words.py": "WORD = 'pho'",
            "beside.py": "MARK = '!'",
        }
    )
    engine = load_engine(manifest, None)
    assert engine.metadata == {"word": "pho!"}
    assert engine.device == "abacus"
    assert sys.path == before
    assert "toy" not in sys.modules


def test_two_versions_with_the_same_module_name_stay_apart(python_model: MakeModel) -> None:
    old = python_model({"toy.py": TOY, "word.txt": "old "}, folder="v1")
    new = python_model({"toy.py": TOY.replace("+ text", "+ text.upper()"), "word.txt": "new "}, folder="v2",
                       version="2.0.0")  # fmt: skip
    assert _answers(old) == ["old 1.0.0a", "old 1.0.0b"]
    assert _answers(new) == ["new 2.0.0A", "new 2.0.0B"]
    assert _answers(old) == ["old 1.0.0a", "old 1.0.0b"]


def test_the_same_version_in_another_folder_is_loaded_from_there(python_model: MakeModel) -> None:
    first = python_model({"toy.py": TOY, "word.txt": "first "}, folder="here")
    second = python_model({"toy.py": TOY.replace("+ text", "+ text * 2"), "word.txt": "second "}, folder="there")
    assert _answers(first) == ["first 1.0.0a", "first 1.0.0b"]
    assert _answers(second) == ["second 1.0.0aa", "second 1.0.0bb"]


def test_close_reaches_the_object_once(python_model: MakeModel) -> None:
    source = (
        "class Toy:\n"
        "    def __init__(self, manifest, folder): self.log = folder / 'log'\n"
        "    def run(self, inputs): return {}\n"
        "    def close(self):\n"
        "        with self.log.open('a') as log: log.write('closed ')\n"
    )
    manifest = python_model({"toy.py": source})
    engine = load_engine(manifest, None)
    engine.close()
    engine.close()
    assert (manifest.folder / "log").read_text() == "closed "


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"other.py": ""}, "there is no module toy in"),
        ({"toy.py": "class Tay: pass"}, "toy has no class Toy (its classes: Tay)"),
        ({"toy.py": "Toy = 3"}, "toy has no class Toy (its classes: none)"),
        ({"toy.py": "class Toy:\n  def __init__(self, m, f): pass"}, "no method run(inputs) -> outputs"),
        ({"toy.py": "class Toy:\n  def run(self, i): return {}"}, "Toy(manifest, folder) failed: TypeError"),
        ({"toy.py": "import absent_package"}, "imports absent_package, which is not there"),
        ({"toy.py": "import words", "words.py": ""}, "from .words import"),
        ({"toy.py": "1 / 0"}, "cannot be imported: ZeroDivisionError"),
        ({"toy.py": "def"}, "cannot be imported: SyntaxError"),
    ],
)
def test_a_class_that_cannot_be_used_is_explained(python_model: MakeModel, files: dict[str, str], said: str) -> None:
    manifest = python_model(files)
    with pytest.raises(EngineError) as caught:
        load_engine(manifest, None)
    assert said in str(caught.value)
    assert str(manifest.folder) in str(caught.value)
    assert caught.value.code == "model_invalid"
