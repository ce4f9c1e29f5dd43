"""Starts worker processes for a measurement, and stops them as an operator would."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

from benchmarks.extraction import RunError, tail

COMMAND = (sys.executable, "-m", "billow.services.worker")
_START_SECONDS = 120.0
_STOP_SECONDS = 40.0


class Workers:
    """Worker processes of one model; leave the `async with` to end those that are left."""

    def __init__(self, model: str, env: Mapping[str, str]) -> None:
        """`env` is added to this process's environment; it names NATS and the folders with models."""
        self._model = model
        self._env = {**os.environ, **env, "BILLOW_STOP_WITH_PARENT": "true", "BILLOW_LOG_LEVEL": "warning"}
        self._folder = tempfile.TemporaryDirectory(prefix="billow-bench-")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving
        self._started = 0

    @property
    def pids(self) -> list[int]:
        """Of those that run."""
        return [process.pid for process in self._processes]

    async def scale(self, count: int) -> None:
        """Start or stop as many as are missing or too many; returns when all of them take work.

        Raises:
            RunError: one of them did not come up.
        """
        surplus, self._processes = self._processes[count:], self._processes[:count]
        for process in surplus:
            process.send_signal(signal.SIGTERM)
        for process in surplus:
            await asyncio.to_thread(_end, process)
        fresh = [self._start() for _ in range(count - len(self._processes))]
        try:
            async with asyncio.timeout(_START_SECONDS):
                for process, ready in fresh:
                    while not ready.exists():
                        if process.poll() is not None:
                            raise RunError(f"A worker ended with {process.returncode}. It said last:\n{self._words()}")
                        await asyncio.sleep(0.02)
        except TimeoutError as e:
            raise RunError(f"A worker did not come up. It said last:\n{self._words()}") from e

    def _start(self) -> tuple[subprocess.Popen[bytes], Path]:
        self._started += 1
        ready = Path(self._folder.name) / f"ready-{self._started}"
        process = subprocess.Popen(
            [*COMMAND, self._model],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**self._env, "BILLOW_READY_FILE": str(ready)},
        )
        self._processes.append(process)
        return process, ready

    def _words(self) -> str:
        return tail(self._log)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(RunError):
            await self.scale(0)
        self._log.close()
        self._folder.cleanup()


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
