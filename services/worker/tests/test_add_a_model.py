"""What `docs/add-a-model.md` tells a newcomer to write works as it stands."""

import hashlib
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from billow.engines.catalog import Catalog
from billow.engines.load import load_engine
from billow.engines.manifest import Manifest, Runtime
from billow.engines.weights import verify
from billow.schemas.geometry import Page, Word
from billow.schemas.inference import Classifications, ClassifyTokens, Detections, DetectText, Output, Payload
from billow.services.worker.composition import dress

GUIDE = Path(__file__).parents[3] / "docs" / "add-a-model.md"
QUAD = (1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 1.0, 4.0)


def files(section: str) -> dict[str, str]:
    """The code blocks below a heading that are marked as files."""
    text = GUIDE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text, flags=re.DOTALL))


def write(folder: Path, contents: dict[str, str]) -> Path:
    folder.mkdir()
    for name, text in contents.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def answer(manifest: Manifest, payload: Payload, runtime: Runtime | None = None) -> Output:
    engine = load_engine(manifest, verify(manifest, Path("/nowhere")), threads=1, runtime=runtime)
    model = dress(manifest, engine)
    model.warm_up()
    (answered,) = model.run([payload])
    engine.close()
    assert answered.error is None
    assert answered.output is not None
    return answered.output


def test_a_model_in_20_lines_of_python(tmp_path: Path) -> None:
    contents = files("In 20 lines of Python")
    code = [line for line in contents["amount_finder.py"].splitlines() if line.strip()]
    assert len(code) <= 20
    write(tmp_path / "amount-finder", contents)
    words = tuple(Word(text=text, quad=QUAD) for text in ("Tea", "2.50", "Cake", "3,20", "Total", "5.70"))
    output = answer(
        Catalog([tmp_path]).get("amount-finder"), ClassifyTokens(pages=(Page(width=9, height=9),), words=words)
    )
    assert isinstance(output, Classifications)
    assert output.labels == ("", "", "", "", "", "total")
    assert output.scores[-1] == pytest.approx(0.3)


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_model_from_an_onnx_file_without_python(tmp_path: Path, runtime: Runtime, ink_weights: bytes) -> None:
    contents = files("From an ONNX file, without Python")
    assert list(contents) == ["manifest.toml"]
    contents["manifest.toml"] = contents["manifest.toml"].replace("0" * 64, hashlib.sha256(ink_weights).hexdigest())
    folder = write(tmp_path / "ink", contents)
    (folder / "ink.onnx").write_bytes(ink_weights)

    image = np.full((640, 480, 3), 255, np.uint8)
    image[200:220, 100:250] = 0
    payload = DetectText(image=cv2.imencode(".png", image)[1].tobytes())
    output = answer(Catalog([tmp_path]).get("ink"), payload, runtime)
    assert isinstance(output, Detections)
    (quad,) = output.quads
    assert (sum(quad[::2]) / 4, sum(quad[1::2]) / 4) == pytest.approx((175, 210), abs=2)
