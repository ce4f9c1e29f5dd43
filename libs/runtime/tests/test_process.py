"""The life of a process, with real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SERVICE = """
import sys
from billow.runtime.errors import StackUnreachableError, PermanentError
from billow.runtime.process import run_service
from billow.runtime.settings import ProcessSettings

async def serve(settings, lifecycle):
    if settings.log_format == "unreachable":
        raise StackUnreachableError("nobody there")
    if settings.log_format == "broken":
        raise PermanentError("cannot go on", code="x")
    lifecycle.ready()
    await lifecycle.stopping.wait()
    if settings.log_format == "hang":
        import asyncio
        print("draining", flush=True)
        await asyncio.sleep(150)

sys.exit(run_service("sample", ProcessSettings, serve))
"""


def start(tmp_path: Path, **environ: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        env={**os.environ, "BILLOW_READY_FILE": str(tmp_path / "ready"), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_ready(tmp_path: Path) -> None:
    until = time.monotonic() + 60
    ready = tmp_path / "ready"
    # It is there a moment before its content is.
    while not (ready.exists() and ready.read_text()):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_drains_and_exits_0(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path) as process:
        wait_ready(tmp_path)
        assert (tmp_path / "ready").read_text() == str(process.pid)
        process.send_signal(number)
        assert process.wait(60) == 0
    assert not (tmp_path / "ready").exists()


def test_a_second_signal_exits_at_once(tmp_path: Path) -> None:
    with start(tmp_path, BILLOW_LOG_FORMAT="hang") as process:
        wait_ready(tmp_path)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "draining\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("environ", "code", "says"),
    [
        ({"BILLOW_LOG_LEVEL": "loud"}, 2, "debug, info, warning or error"),
        ({"BILLOW_LOG_FORMAT": "unreachable"}, 3, "nobody there"),
        ({"BILLOW_LOG_FORMAT": "broken"}, 1, "cannot go on"),
        ({"BILLOW_REPLICAS": "three"}, 2, "BILLOW_REPLICAS"),
    ],
)
def test_the_exit_code_says_what_went_wrong(tmp_path: Path, environ: dict[str, str], code: int, says: str) -> None:
    with start(tmp_path, **environ) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert says in err
