# pyright: reportUnknownMemberType=false
"""Containers, services and workers together, and what can be done to them."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from billow.bus.connection import Bus
from billow.bus.images import ImageStore
from billow.bus.provision import provision
from billow.cli.stack.process import SupervisedProcess
from billow.runtime.errors import BillowError
from integration_tests.cluster.access import DOMAIN, environ_of
from integration_tests.cluster.containers import NODES, POSTGRES, SITES, Containers
from integration_tests.cluster.database import empty_database
from integration_tests.cluster.plan import Plan
from integration_tests.cluster.streams import remove_streams

_READY_SECONDS = 240.0
_STREAM_SECONDS = 120.0


class Cluster:
    """A running Billow over several sites; `async with await Cluster.open(folder)`.

    Services and workers that are killed are started again, as Kubernetes would; containers are not.
    """

    def __init__(self, containers: Containers, folder: Path, plan: Plan) -> None:
        """Use `open`; this alone starts nothing."""
        self._containers = containers
        self._folder = folder
        self._plan = plan
        self._owner = False
        self._processes: dict[str, SupervisedProcess] = {}
        self._away: set[str] = set()

    @classmethod
    async def open(cls, folder: Path, plan: Plan | None = None, *, containers: Containers | None = None) -> Self:
        """Start everything and wait until it takes work; on failure nothing is left running.

        Args:
            folder: For certificates, models and, in `logs`, the logs of all parts.
            plan: What runs; fake models and one of each service if not given.
            containers: Running ones, which outlive this cluster; it starts with empty streams and an empty database.
        """
        cluster = cls(containers or Containers(folder / "containers"), folder, plan or Plan())
        cluster._owner = containers is None
        try:
            if cluster._owner:
                await asyncio.to_thread(cluster._containers.start)
            os.environ["SSL_CERT_FILE"] = str(cluster._containers.authority)
            await cluster._provision()
            cluster._processes = cluster._make_processes()
            for process in cluster._processes.values():
                process.start()
            for process in cluster._processes.values():
                await process.wait_ready(_READY_SECONDS)
        except BaseException:
            await cluster.close()
            raise
        return cluster

    async def close(self) -> None:
        """Stop all processes, write the logs of the containers, and remove these if they are our own."""
        for name in self._processes:
            await self.unpause(name)
        await asyncio.gather(*(self._processes[name].stop() for name in self.services))
        await asyncio.gather(*(self._processes[name].stop() for name in self.workers))
        with contextlib.suppress(Exception):
            await asyncio.to_thread(self._containers.write_logs, self.logs)
        if self._owner:
            await asyncio.to_thread(self._containers.remove)
        os.environ.pop("SSL_CERT_FILE", None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """Of the hub, as a backend has it."""
        return self._containers.url

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the records."""
        return f"postgresql+asyncpg://{self._containers.database}"

    def leaf_url(self, site: str) -> str:
        """What workers of a site connect to."""
        return self._containers.leaf_url(site)

    @property
    def logs(self) -> Path:
        """`<name>.log` of processes, and after `stop` of containers."""
        return self._folder / "logs"

    @property
    def services(self) -> Sequence[str]:
        """`<service>-<number>`"""
        return [name for name in self._processes if name in self._plan.services]

    @property
    def workers(self) -> Sequence[str]:
        """`<site>-detector`, `<site>-recogniser` and `hub-layout`"""
        return [name for name in self._processes if name not in self.services]

    @property
    def nodes(self) -> Sequence[str]:
        """The hub's nats-servers."""
        return NODES

    @property
    def sites(self) -> Sequence[str]:
        return SITES

    def workers_of(self, site: str) -> Sequence[str]:
        """Names of the workers behind its leaf."""
        return [name for name in self.workers if name.startswith(site)]

    def process(self, name: str) -> SupervisedProcess:
        """A service or worker. Raises KeyError: there is none of this name."""
        return self._processes[name]

    async def kill(self, name: str) -> None:
        """SIGKILL. A service or worker comes back by itself, a container by `start`."""
        if name in self._processes:
            self._processes[name].kill()
        else:
            await asyncio.to_thread(self._containers.get(name).kill)

    async def shut_down(self, name: str) -> None:
        """Stop it in order; it stays away until `start`."""
        if name in self._processes:
            self._away.add(name)
            await self._processes[name].stop()
        else:
            await asyncio.to_thread(self._containers.get(name).stop)

    async def start(self, name: str) -> None:
        """Start what was killed or shut down; returns before it is ready. A no-op if it runs, or is about to."""
        if name not in self._processes:
            await asyncio.to_thread(self._containers.get(name).start)
        elif name in self._away:
            self._away.discard(name)
            self._processes[name].start()

    async def pause(self, name: str) -> None:
        """Freeze it: its connections stay, and nobody answers."""
        if name not in self._processes:
            await asyncio.to_thread(self._containers.get(name).pause)
        elif (pid := self._processes[name].pid) is not None:
            os.kill(pid, signal.SIGSTOP)

    async def unpause(self, name: str) -> None:
        """Let it go on. A no-op if it is not paused."""
        if name not in self._processes:
            await asyncio.to_thread(self._containers.get(name).unpause)
        elif (pid := self._processes[name].pid) is not None:
            os.kill(pid, signal.SIGCONT)

    async def mend(self, *, processes: bool = True) -> None:
        """Make it whole again, whatever was done to it; `processes`: also services and workers.

        Raises:
            TimeoutError: the containers do not become whole.
            StackUnreachableError: a process does not.
        """
        for site in self.sites:
            await self.join(site)
        for node in self.nodes:
            await self.unpause(node)
            await self.start(node)
        await self.start(POSTGRES)
        await self.until_whole()
        if processes:
            await self.bring_back(*self._processes)

    async def bring_back(self, *names: str) -> None:
        """Start services and workers, or let them go on, and wait until they take work. A no-op for those that do.

        Raises:
            StackUnreachableError: one does not in time.
        """
        for name in names:
            await self.unpause(name)
            await self.start(name)
        await asyncio.gather(*(self._processes[name].wait_ready(_READY_SECONDS) for name in names))

    async def put_out(self, *names: str) -> None:
        """Stop services and workers in order, all at once."""
        await asyncio.gather(*(self.shut_down(name) for name in names))

    async def cut(self, site: str) -> None:
        """Pull the cable between a site and the hub. Nobody is told; packets are lost."""
        await asyncio.to_thread(self._containers.cut, site)

    async def join(self, site: str) -> None:
        """Plug it in again; returns before the leaf has noticed."""
        await asyncio.to_thread(self._containers.join, site)

    async def restart_postgres(self) -> None:
        """Stop the database under its clients, as for maintenance, and start it."""
        await self.shut_down(POSTGRES)
        await asyncio.to_thread(self._containers.get(POSTGRES).start)

    async def until_whole(self) -> None:
        """Wait until all nodes have caught up, and every site that is not cut is joined.

        Raises:
            TimeoutError: that is not so in time.
        """
        await asyncio.to_thread(self._containers.until_whole)

    async def stream_leader(self, stream: str) -> str:
        """Name of the node that leads a stream now."""
        until = time.monotonic() + _STREAM_SECONDS
        async with self.bus() as bus:
            while True:
                with contextlib.suppress(Exception):
                    info = await bus.js.stream_info(stream)
                    if info.cluster is not None and info.cluster.leader:
                        return info.cluster.leader
                if time.monotonic() > until:
                    raise TimeoutError(f"nobody leads {stream}")
                await asyncio.sleep(0.1)

    def command_of(self, user: str) -> dict[str, str]:
        """Environment in which `billow` is this user at the hub. Raises KeyError: there is none of this name."""
        return {
            "BILLOW_NATS_URL": self._containers.servers,
            "SSL_CERT_FILE": str(self._containers.authority),
            **environ_of(user),
        }

    async def users(self) -> set[str]:
        """Who is connected to the hub now, sites apart."""
        return await asyncio.to_thread(self._containers.users)

    async def denials(self) -> list[str]:
        """What the hub has denied to anybody since the containers were started; the newest is not the last."""
        return await asyncio.to_thread(self._containers.denials)

    async def make_bucket(self, tenant: str) -> None:
        """Make a tenant's bucket with as many copies as the streams have."""
        async with self.bus() as bus:
            await ImageStore(bus.client, bus.domain).ensure_bucket(tenant, replicas=len(NODES))

    async def sent_by(self, service: str) -> dict[tuple[str, int], int]:
        """Messages that each process of a service has sent until now, by node and number of its connection."""
        return await asyncio.to_thread(self._containers.sent_by, service)

    @contextlib.asynccontextmanager
    async def bus(self) -> AsyncGenerator[Bus]:
        """A connection with all rights at the hub."""
        async with await Bus.connect(self.url, name="test", timeout=30) as bus:
            yield bus

    async def _provision(self) -> None:
        """Streams with three copies; what an earlier cluster left is removed."""
        if not self._owner:
            await empty_database(self.database_url)
        until = time.monotonic() + _READY_SECONDS
        async with self.bus() as bus:
            await remove_streams(bus)
            while True:
                try:
                    return await provision(bus, replicas=len(NODES))
                except BillowError:
                    # The hub may still be choosing who leads it.
                    if time.monotonic() > until:
                        raise
                    await asyncio.sleep(0.1)

    def _make_processes(self) -> dict[str, SupervisedProcess]:
        models = os.pathsep.join(map(str, self._plan.model_folders(self._folder / "models")))
        common = {"BILLOW_STOP_WITH_PARENT": "1", "BILLOW_THREADS": "1", "BILLOW_MODELS": models}
        at_hub = {
            **common,
            "BILLOW_NATS_URL": self._containers.servers,
            "SSL_CERT_FILE": str(self._containers.authority),
            "BILLOW_REPLICAS": str(len(NODES)),
            "BILLOW_DATABASE_URL": self.database_url,
            "BILLOW_DETECTION_MODEL": self._plan.detector,
            "BILLOW_RECOGNITION_MODEL": self._plan.recogniser,
            "BILLOW_LAYOUT_MODEL": self._plan.layout,
            **self._plan.environ,
        }
        commands: dict[str, tuple[list[str], dict[str, str]]] = {}
        for name in self._plan.services:
            service = name.partition("-")[0]
            commands[name] = ([f"billow.services.{service}"], at_hub | environ_of(service))
        if self._plan.workers:
            layout = self._plan.layout
            commands["hub-layout"] = (["billow.services.worker", layout], at_hub | environ_of(f"worker-{layout}"))
            for site in SITES:
                environ = {
                    **common,
                    "BILLOW_NATS_URL": self._containers.leaf_url(site),
                    "BILLOW_NATS_DOMAIN": DOMAIN,
                    "BILLOW_NATS_INBOX_PREFIX": f"_INBOX.{site}",
                }
                commands[f"{site}-detector"] = (["billow.services.worker", self._plan.detector], environ)
                commands[f"{site}-recogniser"] = (["billow.services.worker", self._plan.recogniser], environ)
        shutil.rmtree(self.logs, ignore_errors=True)
        return {
            name: SupervisedProcess(name, [sys.executable, "-m", *command], environ=environ, folder=self.logs)
            for name, (command, environ) in commands.items()
        }
