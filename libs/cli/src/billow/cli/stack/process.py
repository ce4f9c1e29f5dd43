"""One supervised process: started again when it dies, stopped when it is told to."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from billow.runtime.errors import StackUnreachableError

log = structlog.get_logger()

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 10.0
_HEALTHY_AFTER = 10.0
"""seconds after which a process counts as well, and its next pause starts small again"""
_STOP_SECONDS = 30.0
_STARTS = 3
"""Times that a process may die before it was ever ready"""
_FATAL_EXIT_CODES = {2, 3}
"""Wrong usage and an unreachable stack: starting again cannot help one that was never ready."""


class SupervisedProcess:
    """A child process with a log file, a readiness file and a will to live."""

    def __init__(self, name: str, command: Sequence[str], *, environ: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._command = list(command)
        self._ready_file = folder / f"{name}.ready"
        self.log_file = folder / f"{name}.log"
        self._environ = {**environ, "BILLOW_READY_FILE": str(self._ready_file)}
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._was_ready = False
        self.restarts = 0
        self.on_restart: Callable[[str, int], None] = lambda _name, _code: None

    @property
    def pid(self) -> int | None:
        """Of the running process, None between two lives."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def ready(self) -> bool:
        """Whether the process that runs now has said that it takes work."""
        try:
            return self.pid is not None and self._ready_file.read_text() == str(self.pid)
        except OSError:
            return False

    def start(self) -> None:
        """Start it and keep it running."""
        self._spawn()
        self._keeper = asyncio.create_task(self._keep())

    async def wait_ready(self, timeout: float) -> None:
        """Wait until it takes work.

        Raises:
            StackUnreachableError: it ended, or `timeout` seconds passed; the message has the end of its log.
        """
        until = time.monotonic() + timeout
        while not self.ready:
            if self.restarts >= _STARTS or (self._keeper is not None and self._keeper.done()):
                raise StackUnreachableError(f"{self.name} cannot start:\n{self._tail()}")
            if time.monotonic() > until:
                raise StackUnreachableError(f"{self.name} is not ready after {timeout:g} s:\n{self._tail()}")
            await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when it does not drain in time. Safe to call twice."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(process.wait, _STOP_SECONDS)
            except subprocess.TimeoutExpired:
                log.warning("did not drain in time, killing it", process=self.name)
                process.kill()
                await asyncio.to_thread(process.wait)
        self._ready_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL, as a crash would; it is started again."""
        if self._process is not None:
            self._process.kill()

    def _spawn(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._environ},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A session of its own: Ctrl-C reaches us alone, and we stop the parts in order.
                start_new_session=True,
            )

    async def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            process = self._process
            while process is not None and process.poll() is None:
                self._was_ready = self._was_ready or self.ready
                await asyncio.sleep(0.1)
            code = process.returncode if process is not None else 0
            if code in _FATAL_EXIT_CODES and not self._was_ready:
                return
            pause = _FIRST_PAUSE if time.monotonic() - started > _HEALTHY_AFTER else min(pause * 2, _LONGEST_PAUSE)
            self.restarts += 1
            self.on_restart(self.name, code)
            await asyncio.sleep(pause)
            self._spawn()

    def _tail(self, lines: int = 8) -> str:
        if not self.log_file.exists():
            return "(no log)"
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-lines:])
