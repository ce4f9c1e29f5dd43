import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import memory
from benchmarks.extraction import RunError
from benchmarks.footprint import Footprint, Memory, Peaks, footprint, process_name
from benchmarks.stack import running_stack

FAKE = [sys.executable, str(Path(__file__).resolve().parent / "fake_billow.py")]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["/x/python", "-m", "billow.services.ocr"], "ocr"),
        (["/x/python", "-m", "billow.services.worker", "rules"], "worker rules"),
        (["/x/python", "-m", "billow.cli", "up", "--port", "0"], "billow up"),
        (["/x/bin/nats-server", "-p", "1"], "nats-server"),
        ([], "?"),
    ],
)
def test_processes_get_readable_names(command: list[str], name: str) -> None:
    assert process_name(command) == name


def test_the_footprint_of_this_process_is_plausible() -> None:
    look = footprint(os.getpid())
    assert look.total.rss > 5_000_000
    assert 0 < look.total.pss <= look.total.rss


def test_a_process_that_is_gone_is_an_error() -> None:
    with pytest.raises(RunError, match="no process"):
        footprint(2**22 + 1)


def test_peaks_are_kept_for_each_process_and_for_the_sum() -> None:
    peaks = Peaks()
    peaks.add(Footprint({"a": Memory(10, 5), "b": Memory(1, 1)}))
    peaks.add(Footprint({"a": Memory(2, 2), "b": Memory(7, 7)}))
    assert peaks.processes == {"a": Memory(10, 5), "b": Memory(7, 7)}
    assert peaks.total == Memory(11, 9)


def test_a_stack_is_started_and_all_of_it_stopped() -> None:
    with running_stack(FAKE) as stack:
        family = [psutil.Process(stack.pid), *psutil.Process(stack.pid).children()]
        assert len(family) == 2
        assert stack.nats_url is not None
        assert stack.nats_url.startswith("nats://127.0.0.1:")
    assert not any(process.is_running() for process in family)


def test_a_stack_that_does_not_come_up_says_why() -> None:
    with pytest.raises(RunError, match="no such luck"), running_stack([sys.executable, "-c", "exit('no such luck')"]):
        pass


def test_the_table_has_a_row_a_process(add: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add("one", fields={}, lines=[], record={"status": "completed"})
    options = ["--data", str(tmp_path), "--billow", " ".join(FAKE), "--settle", "0", "--repeat", "2"]
    assert memory.main(options) == 0
    out = capsys.readouterr().out
    assert "2 documents, 8 at once" in out
    assert len(out.strip().splitlines()) == 2 + 2 + 2 + 1
    assert out.strip().splitlines()[-1].startswith("all ")


def test_a_stack_that_runs_already_is_left_running(add: Any, tmp_path: Path) -> None:
    add("one", fields={}, lines=[], record={"status": "completed"})
    with running_stack(FAKE) as stack:
        options = ["--data", str(tmp_path), "--billow", " ".join(FAKE), "--settle", "0", "--pid", str(stack.pid)]
        assert memory.main(options) == 0
        assert psutil.Process(stack.pid).is_running()
