import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks import beside, frames, peer, sizes
from benchmarks.datasets import DatasetError, Document

HERE = Path(__file__).resolve().parent
RECORD = {"status": "completed", "timings_ms": {"total": 50.0}}


@pytest.fixture
def folder(add: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three real, small pictures."""
    for name in ("one", "two", "three"):
        path = add(name, fields={"total": "31.00"}, lines=["31.00"], record=RECORD, peer=["31.00"])
        cv2.imwrite(str(path), np.full((60, 30, 3), 40, np.uint8))
    real = peer.run_peer

    def run_fake(
        paths: Sequence[Path], *, engine: peer.PeerEngine, warm_up: int, command: object = None
    ) -> peer.PeerRun:
        assert engine == "openvino"
        return real(paths, engine=engine, warm_up=warm_up, command=[sys.executable, str(HERE / "fake_peer.py")])

    monkeypatch.setattr(beside, "run_peer", run_fake)
    monkeypatch.setattr(sizes, "SIZES", {(48, 64): 0.2, (128, 96): 1.8})
    monkeypatch.setattr(sizes, "FLOOD", 7)
    return tmp_path


def run(folder: Path, *options: str) -> int:
    fake = f"{sys.executable} {HERE / 'fake_billow.py'}"
    return sizes.main(["--data", str(folder), "--billow", fake, *options])


def test_every_size_has_a_line_beside_the_first_system(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--any-names") == 0
    out = capsys.readouterr().out
    assert next(line for line in out.splitlines() if line.startswith("48 x 64")).count("0.250") == 1
    assert "1.80" in next(line for line in out.splitlines() if line.startswith("128 x 96"))
    assert "7 at a time: 7 answered, 0 not" in out


def test_a_size_that_is_too_slow_misses_the_bar(folder: Path) -> None:
    assert run(folder, "--any-names", "--no-flood", "--min-speedup", "100000") == 1


def test_the_named_receipts_must_be_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 3
    assert "--any-names" in capsys.readouterr().err


def test_a_receipt_is_fitted_whole_and_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "thin.png"
    cv2.imwrite(str(path), np.zeros((80, 20, 3), np.uint8))
    framed = frames.fit(Document(id="thin", path=path, lines=None), 100, 40, tmp_path)
    page = cv2.imread(str(framed.path))
    assert page is not None and page.shape == (40, 100, 3)
    dark = np.flatnonzero(page[20, :, 0] < 128)
    assert (dark.min(), dark.max()) == (45, 54)
    assert page[2, 50, 0] < 128 and page[38, 50, 0] < 128


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    path = tmp_path / "no.jpg"
    path.write_text("no")
    with pytest.raises(DatasetError, match=r"no\.jpg"):
        frames.fit(Document(id="no", path=path, lines=None), 10, 10, tmp_path)
