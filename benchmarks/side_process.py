"""Programs under measurement that take orders: a line of JSON in, a line of JSON out."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self, TypeVar

import msgspec

from benchmarks.extraction import RunError, tail
from benchmarks.peer import find_uv

HERE = Path(__file__).resolve().parent
SCHEMAS = HERE.parent / "schemas" / "src"
"""Import path of our events; they need nothing but msgspec, so peers measure on the very same types."""
_STOP_SECONDS = 20.0
_LINE_LIMIT = 64 * 1024 * 1024

T = TypeVar("T")


def script_command(script: str) -> tuple[str, ...]:
    """How to run a file of this folder that states its own dependencies.

    Raises:
        RunError: there is no uv.
    """
    try:
        uv = find_uv()
    except RunError as e:
        raise RunError(f"{script} runs in an environment of its own, made by uv, and there is no uv.") from e
    return (uv, "run", "--quiet", "--script", str(HERE / script))


class SideProcess:
    """One side of a comparison. Leave the `async with` to end it; whatever it started ends too."""

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = command
        self._env = {**os.environ, **(env or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running program."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            env=self._env,
            start_new_session=True,
            limit=_LINE_LIMIT,
        )
        return self

    async def ask(self, question: Any, type_: type[T], *, timeout: float = 300.0) -> T:
        """Send one line and read one.

        Raises:
            RunError: it ended, answered something else, or took longer than `timeout` seconds.
        """
        process = self._process
        assert process is not None and process.stdin is not None
        with contextlib.suppress(ConnectionError):  # reading tells why it is gone
            process.stdin.write(json.dumps(question).encode() + b"\n")
            await process.stdin.drain()
        return await self.hear(type_, timeout=timeout)

    async def hear(self, type_: type[T], *, timeout: float = 300.0) -> T:
        """Read one line without asking. Raises as `ask`."""
        process = self._process
        assert process is not None and process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                line = await process.stdout.readline()
            return msgspec.json.decode(line, type=type_)
        except TimeoutError as e:
            raise RunError(
                f"{self.name} did not answer within {timeout:g} s. It said last:\n{self._last_words()}"
            ) from e
        except msgspec.DecodeError as e:
            raise RunError(f"{self.name} did not answer as agreed ({e}). It said last:\n{self._last_words()}") from e

    def _last_words(self) -> str:
        return "" if self._log is None else tail(self._log)

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        assert process is not None and process.stdin is not None and self._log is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            pass
        # What it started may outlive it, and would take the processor from the next side.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        self._log.close()
