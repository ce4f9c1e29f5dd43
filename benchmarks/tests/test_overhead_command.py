import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import overhead
from benchmarks.extraction import RunError

FAKE = f"{sys.executable} {Path(__file__).resolve().parent / 'fake_billow.py'}"


@pytest.fixture
def folder(add: Any, tmp_path: Path) -> Path:
    """A slow first document, then overheads of 10, 20 and 60 %."""
    for name, engines in (("a", 10.0), ("b", 90.0), ("c", 80.0), ("d", 40.0)):
        timings = {"queue": 2.0, "total": 100.0, "engines": engines}
        add(name, fields={}, lines=[], record={"status": "completed", "timings_ms": timings})
    return tmp_path


def test_the_median_counts_and_the_first_document_does_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert overhead.main(["--data", str(folder), "--billow", FAKE, "--max-share", "0.2"]) == 0
    out = capsys.readouterr().out
    assert "overhead of 3 documents" in out
    assert "median 20.0 %, best 10.0 %, worst 60.0 %" in out


def test_a_missed_bar_is_an_exit_code(folder: Path) -> None:
    assert overhead.main(["--data", str(folder), "--billow", FAKE, "--max-share", "0.19"]) == 1


def test_only_documents_that_completed_count(add: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add("a", fields={}, lines=[], record={"status": "failed"})
    assert overhead.main(["--data", str(tmp_path), "--billow", FAKE, "--warm-up", "0"]) == 3
    assert "No document completed" in capsys.readouterr().err


def test_a_record_without_the_times_is_an_error() -> None:
    with pytest.raises(RunError, match="engines"):
        overhead.share({"total": 5.0})
