import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import accuracy, peer
from benchmarks.extraction import RunError

HERE = Path(__file__).resolve().parent
TRUTH = {"company": "ABC HO TRADING", "date": "09/01/2019", "total": "31.00"}


def record(date: str, total: str, text: list[str], status: str = "completed") -> dict[str, Any]:
    fields = {"date": {"value": date}, "total": {"value": total}, "store_name": {"value": "ABC HO"}}
    return {"status": status, "fields": fields, "text_lines": text, "timings_ms": {"total": 400.0, "engines": 300.0}}


@pytest.fixture
def folder(add: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three receipts: all right, a wrong total with a word less read, and a failed one."""
    text = ["ABC HO TRADING", "09/01/2019", "31.00"]
    add("one", fields=TRUTH, lines=text, record=record("2019-01-09", "31.0", text), peer=text)
    add("two", fields=TRUTH, lines=text, record=record("2019-01-09", "13.00", text[:2]), peer=text)
    add("three", fields=TRUTH, lines=text, record={"status": "failed"}, peer=None)
    real = peer.run_peer
    command = [sys.executable, str(HERE / "fake_peer.py")]

    def run_fake(paths: Sequence[Path]) -> peer.PeerRun:
        return real(paths, command=command)

    monkeypatch.setattr(accuracy, "run_peer", run_fake)
    return tmp_path


def run(folder: Path, *options: str) -> int:
    fake = f"{sys.executable} {HERE / 'fake_billow.py'}"
    return accuracy.main(["--data", str(folder), "--billow", fake, *options])


def cells(output: str, label: str) -> list[str]:
    """The cells of the row that starts with `label`."""
    row = next(line for line in output.splitlines() if line.startswith(label))
    return re.split(r" {2,}", row)[1:]


def test_the_table_shows_both_sides_and_every_field(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder) == 0
    out = capsys.readouterr().out
    assert cells(out, "completed") == ["2 of 3", "2 of 3"]
    # 24 true words; we read 8 + 6, the peer 8 + 8, all of them right.
    assert cells(out, "word F1") == ["0.7368", "0.8000", "-0.0632"]
    assert cells(out, "s a document, running")[1] == "0.25"
    assert cells(out, "date") == ["2", "3", "66.7 %"]
    assert cells(out, "total") == ["1", "3", "33.3 %"]
    assert cells(out, "store_name") == ["0", "3", "53.3 %"]
    assert cells(out, "store_address") == ["0", "0", "-"]


def test_misses_are_listed_with_the_truth(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, "--misses", "--fields", "date,total", "--no-peer")
    out = capsys.readouterr().out
    assert "two  total: 13.00  (truth: 31.00)" in out
    assert "three  date: not found  (truth: 2019-01-09)" in out
    assert "one  " not in out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--min-date", "0.66", "--min-total", "0.33", "--max-f1-loss", "0.07"), 0),
        (("--min-date", "0.67"), 1),
        (("--min-total", "0.75"), 1),
        (("--max-f1-loss", "0.005"), 1),
        (("--min-completed", "1"), 1),
        (("--limit", "1", "--min-completed", "1", "--max-f1-loss", "0", "--min-total", "1"), 0),
    ],
)
def test_a_missed_bar_is_an_exit_code(folder: Path, options: tuple[str, ...], code: int) -> None:
    assert run(folder, *options) == code


def test_a_bar_without_anything_to_measure_is_missed(add: Any, tmp_path: Path) -> None:
    add("one", fields={"company": "X"}, lines=[], record={"status": "completed"})
    assert run(tmp_path, "--no-peer", "--min-date", "0.5") == 1


def test_a_command_that_falls_over_is_reported(add: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add("one", fields=TRUTH, lines=[], record={"exit": 3})
    assert run(tmp_path, "--no-peer") == 3
    assert "the stack fell over" in capsys.readouterr().err


def test_a_bar_against_the_peer_needs_the_peer(folder: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        run(folder, "--no-peer", "--max-f1-loss", "0.1")
    assert ended.value.code == 2


def test_markdown_tables_have_a_rule(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, "--markdown", "--no-peer")
    assert re.search(r"^\| -+ \| -+: \|$", capsys.readouterr().out, re.MULTILINE)


def test_without_uv_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(peer, "HERE", tmp_path / "benchmarks")
    with pytest.raises(RunError, match="--no-peer"):
        peer.find_uv()
