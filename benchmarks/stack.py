"""Starts `billow up` for a measurement and stops it again."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.extraction import RunError, tail
from billow.testkit.ports import free_port

READY = "Billow is up"
"""What the start-up screen says when everything takes work."""


@dataclass(frozen=True, kw_only=True)
class RunningStack:
    """A stack that takes documents."""

    pid: int
    """Of `billow up`, the parent of all its processes."""
    nats_url: str | None
    """None for the one that the environment names."""


@contextlib.contextmanager
def running_stack(
    command: Sequence[str],
    *,
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    start_seconds: float = 120,
) -> Generator[RunningStack]:
    """`billow up` with `options`, an empty folder of its own and a free port, stopped by SIGTERM at the end.

    `env` is added to this process's environment.

    Raises:
        RunError: it ended, or did not say that it is up within `start_seconds`.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="billow-") as folder:
        log_path = Path(folder) / "up.log"
        arguments = [*command, "up", "--data", str(Path(folder) / "data"), "--port", str(port), *options]
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                arguments,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(env or {}), "COLUMNS": "120"},
            )
        try:
            _wait_ready(process, log_path, start_seconds)
            yield RunningStack(pid=process.pid, nats_url=f"nats://127.0.0.1:{port}")
        finally:
            _stop(process)


def _wait_ready(process: subprocess.Popen[bytes], log_path: Path, seconds: float) -> None:
    until = time.monotonic() + seconds
    while READY not in log_path.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > until:
            with log_path.open("rb") as log:
                raise RunError(f"`billow up` did not come up (code {process.poll()}). It said last:\n{tail(log)}")
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
