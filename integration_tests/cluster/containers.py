"""The containers of a cluster: three nodes of the hub, a leaf at each site, PostgreSQL."""

import contextlib
import http.client
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from integration_tests.cluster.access import (
    BACKEND,
    PASSWORD,
    SITES,
    password_of,
    passwords,
    users_conf,
    write_certificates,
)
from integration_tests.cluster.docker import Container, Network
from integration_tests.images import NATS
from integration_tests.images import POSTGRES as POSTGRES_IMAGE

T = TypeVar("T")

NODES = ("hub-0", "hub-1", "hub-2")
POSTGRES = "postgres"
_CONFIGURATIONS = Path(__file__).parents[2] / "deploy" / "nats"
_MONITOR = 8222
_READY_SECONDS = 180.0
_LOOK_SECONDS = 0.05


def leaf_of(site: str) -> str:
    """Name of the site's nats-server."""
    return site.replace("site", "leaf")


class Containers:
    """Starts, disturbs and removes them. All calls block."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes certificates and users; `start` starts what is described here."""
        self.folder = folder
        self._networks: dict[str, Network] = {}
        self._all: dict[str, Container] = {}
        self._cut: set[str] = set()

    def start(self) -> None:
        """Start all of them and wait until the hub is one, the leaves are joined and the database answers.

        Raises:
            TimeoutError: not ready in time.
        """
        self._networks = dict(zip(("hub", *SITES), at_once(Network for _ in range(3)), strict=True))
        self._write_files()
        for container in (*map(self._node, NODES), *map(self._leaf, SITES), self._postgres()):
            self._all[container.name] = container
        at_once(container.start for container in self._all.values())
        for site in SITES:
            self._put_on_hub(site)
        self.until_whole()

    def remove(self) -> None:
        """Remove all containers and networks."""
        at_once(container.remove for container in self._all.values())
        at_once(network.remove for network in self._networks.values())

    @property
    def names(self) -> list[str]:
        return list(self._all)

    @property
    def authority(self) -> Path:
        """The CA's certificate, for SSL_CERT_FILE."""
        return self.folder / "tls" / "ca.crt"

    @property
    def servers(self) -> str:
        """URL of the hub, for a process that has its own user."""
        return ",".join(f"tls://{self._all[node].address}:4222" for node in NODES)

    @property
    def url(self) -> str:
        """The same with the user who may do everything."""
        return self.servers.replace("tls://", f"tls://{BACKEND}:{PASSWORD}@")

    def leaf_url(self, site: str) -> str:
        """What workers of a site reach, and all that they reach."""
        return f"nats://{self._networks[site].address(0)}:4222"

    @property
    def database(self) -> str:
        """Address, user and name as in a database URL, after `://`."""
        return f"billow:billow@{self._all[POSTGRES].address}:5432/billow"

    def network(self, name: str) -> Network:
        """`hub` or a site. Raises KeyError: there is none of this name."""
        return self._networks[name]

    def get(self, name: str) -> Container:
        """Raises KeyError: there is none of this name."""
        return self._all[name]

    def cut(self, site: str) -> None:
        """Take the site's leaf off the hub's network; workers stay connected to the leaf. A no-op if it is off."""
        if site not in self._cut:
            self._networks["hub"].disconnect(self._all[leaf_of(site)].id)
            self._cut.add(site)

    def join(self, site: str) -> None:
        """Put it back at the same address. A no-op if it is on."""
        if site in self._cut:
            self._put_on_hub(site)
            self._cut.discard(site)

    def linked(self, site: str) -> bool:
        """Whether the leaf believes that it is joined; it notices a cut only after a while."""
        found = self._ask(self._networks[site].address(0), "/leafz")
        return found is not None and found[0] == 200 and json.loads(found[1])["leafnodes"] > 0

    def healthy(self, node: str) -> bool:
        """Whether a node of the hub has caught up with all of its streams and consumers."""
        found = self._ask(self._all[node].address, "/healthz")
        return found is not None and found[0] == 200

    def until_whole(self, timeout: float = _READY_SECONDS) -> None:
        """Wait until all nodes have caught up, leaves that are not cut are joined, and the database takes connections.

        Raises:
            TimeoutError: that is not so in time.
        """
        until = time.monotonic() + timeout
        missing = [*NODES, *SITES, POSTGRES]
        while missing := [name for name in missing if not self._fine(name)]:
            if time.monotonic() > until:
                raise TimeoutError(f"not ready after {timeout:g} s: {', '.join(missing)}")
            time.sleep(_LOOK_SECONDS)

    def sent_by(self, name: str) -> dict[tuple[str, int], int]:
        """Messages that each client of this name has sent to a node until now, by the node and the client's number."""
        sent: dict[tuple[str, int], int] = {}
        for node in NODES:
            found = self._ask(self._all[node].address, "/connz?limit=4096")
            clients: list[dict[str, Any]] = json.loads(found[1])["connections"] if found is not None else []
            sent |= {(node, client["cid"]): client["in_msgs"] for client in clients if client.get("name") == name}
        return sent

    def users(self) -> set[str]:
        """Who is connected to the hub now, sites apart."""
        found = [self._ask(self._all[node].address, "/connz?auth=1&limit=4096") for node in NODES]
        return {
            client["authorized_user"]
            for one in found
            if one is not None
            for client in json.loads(one[1])["connections"]
        }

    def denials(self) -> list[str]:
        """What the hub has denied to anybody since the containers were started."""
        lines = [line for node in NODES for line in self._all[node].log().decode(errors="replace").splitlines()]
        return [line for line in lines if "Violation" in line]

    def write_logs(self, folder: Path) -> None:
        """`<name>.log` of each container."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, container in self._all.items():
            (folder / f"{name}.log").write_bytes(container.log())

    def _fine(self, name: str) -> bool:
        if name == POSTGRES:
            return self._takes_connections()
        if name in NODES:
            return self.healthy(name)
        return name in self._cut or self.linked(name)

    def _takes_connections(self) -> bool:
        postgres = self._all[POSTGRES]
        with contextlib.suppress(OSError), socket.create_connection((postgres.address, 5432), timeout=3):
            return b"ready to accept connections" in postgres.log()
        return False

    def _ask(self, host: str, path: str) -> tuple[int, bytes] | None:
        connection = http.client.HTTPConnection(host, _MONITOR, timeout=10)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        return None

    def _put_on_hub(self, site: str) -> None:
        leaf = leaf_of(site)
        hub = self._networks["hub"]
        hub.connect(self._all[leaf].id, hub.address(len(NODES) + 1 + SITES.index(site)), [leaf])

    def _write_files(self) -> None:
        hub = self._networks["hub"]
        names = (*NODES, *(hub.address(index) for index in range(len(NODES))), "localhost")
        write_certificates(self.folder / "tls", names)
        (self.folder / "users.conf").write_text(users_conf())
        for file in _CONFIGURATIONS.glob("*.conf"):
            if file.name != "users.conf":
                shutil.copy(file, self.folder)

    def _files(self, *names: str) -> dict[Path, str]:
        return {self.folder / name: f"/etc/nats/{name}" for name in names}

    def _node(self, name: str) -> Container:
        hub = self._networks["hub"]
        return Container(
            NATS,
            name=name,
            network=hub,
            address=hub.address(NODES.index(name)),
            command=["-c", "/etc/nats/hub.conf"],
            environ={
                "BILLOW_NATS_NAME": name,
                "BILLOW_NATS_ROUTES": json.dumps([f"tls://{node}:6222" for node in NODES]),
                "BILLOW_NATS_STORE": "/data",
                "BILLOW_NATS_FILE_STORE": "1TB",
                **passwords(),
            },
            files=self._files("hub.conf", "users.conf", "tls"),
        )

    def _leaf(self, site: str) -> Container:
        network = self._networks[site]
        # One site dials the leaf listener, from the other only HTTPS leads out.
        scheme, port = ("tls", 7422) if site == SITES[0] else ("wss", 443)
        return Container(
            NATS,
            name=leaf_of(site),
            network=network,
            address=network.address(0),
            command=["-c", "/etc/nats/leaf.conf"],
            environ={
                "BILLOW_NATS_NAME": leaf_of(site),
                "BILLOW_NATS_LISTEN": "0.0.0.0:4222",
                "BILLOW_NATS_MONITOR": f"0.0.0.0:{_MONITOR}",
                "BILLOW_NATS_HUB": json.dumps(
                    [f"{scheme}://{site}:{password_of(site)}@{node}:{port}" for node in NODES]
                ),
            },
            files=self._files("leaf.conf", "tls"),
        )

    def _postgres(self) -> Container:
        hub = self._networks["hub"]
        return Container(
            POSTGRES_IMAGE,
            name=POSTGRES,
            network=hub,
            address=hub.address(len(NODES)),
            environ=dict.fromkeys(("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB"), "billow"),
            # Do not wait for clients to leave.
            stop_signal="SIGINT",
        )


def at_once(calls: Iterable[Callable[[], T]]) -> list[T]:
    """Make all calls beside each other; then raise the first error, if there was one."""
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(call) for call in calls]
    return [one.result() for one in running]
