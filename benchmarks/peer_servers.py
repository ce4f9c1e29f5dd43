"""Other model servers, each in an environment of its own, answering over HTTP with the same recogniser."""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

import psutil

from benchmarks.extraction import RunError, tail
from benchmarks.recogniser import SETTINGS, Settings
from benchmarks.side_process import HERE, script_command

_START_SECONDS = 180.0
"""Includes making the environment the first time."""
_STOP_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Peer:
    """How to start one and how to ask it."""

    name: str
    script: str
    """Of this folder."""
    path: str
    shape: str
    """Of a request, see `http_callers.py`."""


PEERS = {
    "litserve": Peer(name="LitServe", script="litserve_peer.py", path="/predict", shape="image"),
    "bentoml": Peer(name="BentoML", script="bentoml_peer.py", path="/read", shape="images"),
    "ray": Peer(name="Ray Serve", script="ray_peer.py", path="/", shape="raw"),
}
IMPORT_PATH = {"PYTHONPATH": str(HERE.parent)}
"""Peers import what they share from this folder, and nothing of ours."""


class PeerServer:
    """A peer that runs; leave the `async with` to end it and all that it started."""

    def __init__(self, peer: Peer, settings: Settings, command: tuple[str, ...] | None = None) -> None:
        """`command` is instead of the peer's script."""
        self.name = peer.name
        self.url = f"http://127.0.0.1:{settings.port}{peer.path}"
        self._settings = settings
        self._command = command or script_command(peer.script)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that started all others of it."""
        assert self._process is not None
        return self._process.pid

    async def __aenter__(self) -> Self:
        """Raises RunError if it does not take requests in time."""
        self._process = subprocess.Popen(  # noqa: ASYNC220 - Popen, as its end is awaited on a thread
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **IMPORT_PATH, SETTINGS: json.dumps(asdict(self._settings))},
            cwd=HERE.parent,
            start_new_session=True,
        )
        try:
            await asyncio.to_thread(self._wait_ready, self._process)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + _START_SECONDS
        while not _listens(self._settings.port):
            if process.poll() is not None or time.monotonic() > until:
                raise RunError(f"{self.name} did not come up. It said last:\n{tail(self._log)}")
            time.sleep(0.1)
        # Some listen before their model is there; then a request is refused.
        while not _knows(self.url):
            if process.poll() is not None or time.monotonic() > until:
                raise RunError(f"{self.name} does not answer. It said last:\n{tail(self._log)}")
            time.sleep(0.1)

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await asyncio.to_thread(_end, self._process)
        self._log.close()


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _knows(url: str) -> bool:
    """Whether there is something at this address: a refusal of an empty request will do."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=5):
            return True
    except urllib.error.HTTPError as e:
        return e.code not in (404, 502, 503, 504)
    except (OSError, http.client.HTTPException):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    # Ray's and BentoML's own processes may outlive the one that we started.
    _kill(family)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _kill(family: Iterable[psutil.Process]) -> None:
    for child in family:
        with contextlib.suppress(psutil.Error):
            child.kill()


def peers_of(names: str) -> list[Peer]:
    """From a comma-separated list. Raises RunError for a name that nobody knows."""
    unknown = [name for name in names.split(",") if name not in PEERS]
    if unknown:
        raise RunError(f"There is no peer {unknown[0]!r}; known are {', '.join(PEERS)}.")
    return [PEERS[name] for name in names.split(",")]


def files(pictures: Iterable[Path]) -> list[str]:
    """As arguments."""
    return [str(picture) for picture in pictures]
