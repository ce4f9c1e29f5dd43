"""nats-server, services and workers of one machine, started together and stopped in order."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.full_disk import FullDisk
from billow.bus.planning.apply import apply_topology
from billow.bus.provision import ensure_images
from billow.cli.stack.process import SupervisedProcess
from billow.engines.catalog import Catalog
from billow.engines.settings import model_folders
from billow.runtime.errors import StackUnreachableError

SERVICES = ("ocr", "layout", "receipt")
DEFAULT_MODELS = ("ppocr-v6-det-small", "ppocr-v6-rec-small", "rules")

_ASKED_BY = {
    "text-detection": "BILLOW_DETECTION_MODEL",
    "text-recognition": "BILLOW_RECOGNITION_MODEL",
    "token-classification": "BILLOW_LAYOUT_MODEL",
}
"""Task -> setting of the service that asks for it."""

_LOOK_SECONDS = 0.5

log = structlog.get_logger()

Progress = Callable[[str], None]


class Stack:
    """Everything that `billow up` runs. Each part is a process of its own, as in the cluster."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        models: Sequence[str] = DEFAULT_MODELS,
        tenant: str = "default",
        log_level: str = "info",
    ) -> None:
        """`folder` keeps streams, database and logs; `port` None takes a free one.

        The services ask for what is served here: of each task for the first of `models` that does it.
        """
        self.folder = folder.absolute()
        self._port = port
        self._models = tuple(models)
        self._tenant = tenant
        self._log_level = log_level
        self.server: EmbeddedServer | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.processes: dict[str, SupervisedProcess] = {}

    @property
    def url(self) -> str:
        """Where clients connect."""
        if self.server is None:
            raise RuntimeError("the stack has not started")
        return self.server.url

    @property
    def logs(self) -> Path:
        """Folder with one log a process."""
        return self.folder / "logs"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the records."""
        return f"sqlite+aiosqlite:///{self.folder / 'billow.db'}"

    async def start(self, progress: Progress = lambda _: None, *, timeout: float = 120.0) -> Self:
        """Start all parts and wait until each takes work; on failure stop what has started.

        Raises:
            StackUnreachableError: a part cannot start; the message has the end of its log.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise StackUnreachableError(
                f"Streams, database and logs cannot be kept in {self.folder}: {e.strerror or e}. Free some space, make "
                "it writable, or choose another folder."
            ) from e
        try:
            progress("nats-server")
            self.server = await EmbeddedServer.start(self.folder / "nats", self._port, self.logs / "nats-server.log")
            await self._provision()
            self._keeper = asyncio.create_task(self._keep(self.server))
            for process in self._make_processes():
                self.processes[process.name] = process
                process.start()
            for process in self.processes.values():
                progress(process.name)
                await process.wait_ready(timeout)
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Let all parts drain: the services first, who need the workers for what is in hand, and the server last.

        Safe to call twice.
        """
        for services in (True, False):
            parts = [process for name, process in self.processes.items() if (name in SERVICES) == services]
            await asyncio.gather(*(process.stop() for process in parts))
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self.server is not None:
            await self.server.stop()

    async def _keep(self, server: EmbeddedServer) -> None:
        """Start nats-server again when it dies, as the other parts are, and when its full disk has room again."""
        disk, told = FullDisk(server.store_dir, server.log_file), False
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            has_room = await asyncio.to_thread(disk.look)
            if server.running and disk.failed and not told:
                told = True
                log.error(
                    "nats-server cannot write. Documents wait and nothing is lost; free some space, it goes on then",
                    folder=str(server.store_dir),
                    log=str(server.log_file),
                )
            if server.running and not has_room:
                continue
            log.warning("nats-server is started again", log=str(server.log_file))
            disk.forget()
            told = False
            try:
                await server.restart()
            except StackUnreachableError as e:
                log.warning("nats-server cannot start, will try again", reason=str(e))

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _provision(self) -> None:
        async with await Bus.connect(self.url, name="up") as bus:
            # The server is ours, so what an older version made is brought up to date.
            for change in await apply_topology(bus):
                log.warning("left as it is, see `billow topology plan`", name=change.name, destroys=change.destroys)
            # So that a plain NATS client finds the bucket before anything was submitted.
            await ensure_images(bus, self._tenant)

    def _make_processes(self) -> list[SupervisedProcess]:
        environ = {
            "BILLOW_NATS_URL": self.url,
            "BILLOW_LOG_LEVEL": self._log_level,
            "BILLOW_DATABASE_URL": self.database_url,
            "BILLOW_STOP_WITH_PARENT": "1",
            **asked_models(self._models),
        }
        commands = {name: [sys.executable, "-m", f"billow.services.{name}"] for name in SERVICES}
        commands |= {
            f"worker-{model}": [sys.executable, "-m", "billow.services.worker", model] for model in self._models
        }
        return [
            SupervisedProcess(name, command, environ=environ, folder=self.logs) for name, command in commands.items()
        ]


def asked_models(models: Sequence[str]) -> dict[str, str]:
    """The settings that make the services ask for these models: of each task for the first that does it.

    Raises:
        UsageError: a name that nobody knows.
    """
    catalog = Catalog(model_folders())
    first_wins = reversed([catalog.get(name) for name in models])
    return {_ASKED_BY[manifest.task]: manifest.token for manifest in first_wins}


def with_defaults(models: Sequence[str]) -> tuple[str, ...]:
    """These models, and the default one for each task that none of them does.

    Raises:
        UsageError: a name that nobody knows.
    """
    catalog = Catalog(model_folders())
    done = {catalog.get(name).task for name in models}
    return (*models, *(name for name in DEFAULT_MODELS if catalog.get(name).task not in done))
