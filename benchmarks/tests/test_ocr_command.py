import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import beside, ocr, peer

HERE = Path(__file__).resolve().parent
TEXT = ["ABC HO TRADING", "31.00"]


@pytest.fixture
def folder(add: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four receipts; we read one word less than the peer in one of them."""
    for name in ("one", "two", "three", "four"):
        read = TEXT if name != "two" else TEXT[:1]
        record: dict[str, Any] = {
            "status": "completed",
            "text_lines": read,
            "timings_ms": {"total": 100.0},
            "link_bytes": {"text-detection": 60_000, "text-recognition": 20_000},
        }
        add(name, fields={"total": "31.00"}, lines=TEXT, record=record, peer=TEXT)
    real = peer.run_peer

    def run_fake(
        paths: Sequence[Path], *, engine: peer.PeerEngine, warm_up: int, command: object = None
    ) -> peer.PeerRun:
        return real(paths, engine=engine, warm_up=warm_up, command=[sys.executable, str(HERE / "fake_peer.py")])

    monkeypatch.setattr(beside, "run_peer", run_fake)
    return tmp_path


def run(folder: Path, *options: str) -> int:
    fake = f"{sys.executable} {HERE / 'fake_billow.py'}"
    return ocr.main(["--data", str(folder), "--billow", fake, "--rounds", "2", *options])


def test_both_peers_are_set_beside_us(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    out = capsys.readouterr().out
    rows = {line.split("  ")[0]: line for line in out.splitlines()}
    assert "4 of 4" in rows["billow"]
    for engine in ("openvino", "onnxruntime"):
        row = rows[f"RapidOCR, {engine}"]
        # The fake peer takes 0.25 s a picture, we 0.1 s alone; of 20 true words (4 + 1 numbers each) we miss 2.
        assert "0.250" in row and "0.40 x" in row and "1.0000" in row and "-0.0526" in row
    assert "kB a document: text-detection 60, text-recognition 20" in out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--max-latency", "0.41", "--max-f1-loss", "0.06"), 0),
        (("--max-latency", "0.39"), 1),
        (("--max-f1-loss", "0.005"), 1),
        (("--min-speedup", "10000"), 1),
    ],
)
def test_bars_are_exit_codes(folder: Path, options: tuple[str, ...], code: int) -> None:
    assert run(folder, *options) == code


def test_documents_are_dealt_into_rounds_of_each_kind() -> None:
    dealt = beside.rounds_of(list("abcde"), 3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert dealt == [["a", "d"], ["b", "e"], ["c"]]
    assert len(beside.rounds_of(["a"], 3)) == 1  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
