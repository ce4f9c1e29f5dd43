"""The reloader of the development images, with real files, signals and processes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path

SAMPLE = """
import pathlib, signal, sys

def leave(*_):
    print("drained", flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, leave)
print("version", VERSION, flush=True)
signal.pause()
"""


def write(folder: Path, version: str) -> None:
    """At one stroke: emptied first and filled later, it would be two edits."""
    draft = folder.with_suffix(".draft")
    draft.write_text(SAMPLE.replace("VERSION", version))
    draft.replace(folder / "sample.py")


@contextlib.contextmanager
def reloading(folder: Path, **more: str) -> Generator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "billow.runtime.reload", "sample", str(folder)]
    environ = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"} | more
    log = folder.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=output, text=True)
    try:
        yield process
    finally:
        # Told to, it takes the process that it started along.
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()


def wait_for(folder: Path, text: str) -> str:
    """Until that is in the log; returns the log."""
    end = time.monotonic() + 60
    while text not in (log := folder.with_suffix(".log").read_text()):
        assert time.monotonic() < end, f"no `{text}` in:\n{log}"
        time.sleep(0.02)
    return log


def wait_for_answer(port: int) -> None:
    """Until a page of metrics is there; between two attempts of the process it is not."""
    end, url = time.monotonic() + 60, f"http://127.0.0.1:{port}/metrics"
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.status == 200
            return
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_edit_starts_the_process_anew_after_it_has_drained(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    write(folder, "1")
    with reloading(folder) as process:
        wait_for(folder, "version 1")
        write(folder, "2")
        log = wait_for(folder, "version 2")
        assert log.index("version 1") < log.index("drained") < log.index("version 2")
        assert "sample.py" in log
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert folder.with_suffix(".log").read_text().count("drained") == 2


def test_a_bad_edit_is_told_and_the_next_one_brings_it_back(tmp_path: Path, port: int) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    write(folder, "1")
    with reloading(folder, BILLOW_METRICS_PORT=str(port)) as process:
        wait_for(folder, "version 1")
        write(folder, "=")
        wait_for(folder, "SyntaxError")
        wait_for(folder, "waiting for an edit")
        assert process.poll() is None
        # A probe of the container's life finds it well: a new container would not have the edits.
        wait_for_answer(port)
        write(folder, "2")
        wait_for(folder, "version 2")


def test_a_process_that_ends_by_itself_is_started_again(tmp_path: Path) -> None:
    folder = tmp_path / "src"
    folder.mkdir()
    missing = tmp_path / "there"
    code = f"import pathlib, sys\nif not pathlib.Path({str(missing)!r}).exists(): sys.exit(3)\n"
    (folder / "sample.py").write_text(code + SAMPLE.replace("VERSION", "1"))
    with reloading(folder):
        wait_for(folder, "waiting for an edit")
        missing.touch()
        wait_for(folder, "version 1")
