"""The development profile on a NATS server of its own: pods whose sources are edited while they run.

An edit goes into a pod as skaffold's file sync sends it: as a tar into `tar` that runs in the container, as its user.
"""

import asyncio
import contextlib
import io
import itertools
import statistics
import subprocess
import tarfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any, Self

from billow.bus.connection import Bus
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.schemas import codec
from billow.schemas.events import Analyzed, Recognized
from billow.testkit.events import make_recognized
from helm.tests.chart import EXAMPLES, render
from integration_tests.cluster.docker import Container, Network
from integration_tests.containers.manifests import PodSpec, pod_of
from integration_tests.containers.pods import Pod
from integration_tests.images import NATS

ROOT = Path(__file__).parents[2]
SOURCES = "/src"
_CONFIGURATION = ROOT / "deploy" / "nats" / "single.conf"
_SERVER = "billow-nats"
"""Host name that the chart gives to its own server."""
_ANALYZED = "documents.default.analyzed.*"
_PACE = 0.1
"""seconds between two documents that ask whether an edit is there"""
_LONGEST = 120.0
"""seconds after which an edit is taken for lost"""


class Workbench:
    """`async with Workbench.open(folder) as bench`: a server, and pods of the development profile on demand."""

    def __init__(self, folder: Path, network: Network, bus: Bus) -> None:
        """Use `open`; this alone starts nothing."""
        self._folder = folder
        self._network = network
        self._bus = bus
        self._pods: list[Pod] = []
        self._numbers = itertools.count()
        self._answers: asyncio.Queue[Analyzed] = asyncio.Queue()
        self._unanswered: set[str] = set()
        # Whoever reaches the port may do everything: passwords are tested elsewhere.
        values = {"nats": {"auth": {"enabled": False}}, "models": {"cache": {"kind": "emptyDir"}}}
        self._objects = render(values, EXAMPLES["dev"])

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path) -> AsyncGenerator[Self]:
        """Start the server and make its streams; in the end all is removed."""
        network = await asyncio.to_thread(Network)
        server = Container(
            NATS,
            name=_SERVER,
            network=network,
            command=["-c", "/etc/nats/single.conf"],
            environ={"BILLOW_NATS_LISTEN": "0.0.0.0:4222", "BILLOW_NATS_MONITOR": "0.0.0.0:8222"}
            | {"BILLOW_NATS_STORE": "/tmp/data", "BILLOW_NATS_FILE_STORE": "1TB"},
            files={_CONFIGURATION: "/etc/nats/single.conf"},
        )
        try:
            await asyncio.to_thread(server.start)
            async with await Bus.connect(f"nats://{server.address}:4222", name="test", timeout=30) as bus:
                await provision(bus)
                bench = cls(folder, network, bus)
                await bus.client.subscribe(_ANALYZED, cb=bench._heard)  # pyright: ignore[reportUnknownMemberType]
                try:
                    yield bench
                finally:
                    await asyncio.to_thread(bench._remove)
        finally:
            await asyncio.to_thread(server.remove)
            await asyncio.to_thread(network.remove)

    def spec(self, component: str) -> PodSpec:
        """What the profile says of `layout`, `worker-rules` and so on."""
        return pod_of(self._objects, "Deployment", f"billow-{component}", {})

    async def start(self, component: str, image: str) -> Pod:
        """Run the pod of a component with an image of ours and wait until it takes work.

        Raises:
            PodError: it does not.
        """
        pod = Pod(self.spec(component), self._network, self._folder, image=image)
        self._pods.append(pod)
        await asyncio.to_thread(pod.start)
        await asyncio.to_thread(pod.wait_ready)
        return pod

    async def say(self, **changes: Any) -> Recognized:
        """Publish a new recognized document; `changes` as for `make_recognized`."""
        event = make_recognized(f"probe-{next(self._numbers)}", **changes)
        self._unanswered.add(event.document_id)
        await publish_event(self._bus, event)
        return event

    async def until(self, shows: Callable[[Analyzed], bool], **changes: Any) -> Analyzed:
        """Publish documents at a steady pace until an answer shows what is looked for; returns that one.

        Documents that are in hand while a process restarts may come late, so none is waited for alone.

        Raises:
            TimeoutError: none does in time.
        """
        async with asyncio.timeout(_LONGEST):
            while True:
                await self.say(**changes)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PACE):
                        while True:
                            if shows(answer := await self._answers.get()):
                                return answer

    async def until_logged(self, pod: Pod, text: str) -> None:
        """Wait until a pod has written this. Raises TimeoutError: it does not in time."""
        await _until(lambda: text in pod.log())

    async def until_live(self, pod: Pod) -> None:
        """Wait until a pod's liveness probe succeeds. Raises TimeoutError: it does not in time."""
        await _until(lambda: pod.live)

    async def until_idle(self) -> None:
        """Wait until every document is answered. Raises TimeoutError: they are not in time."""
        await _until(lambda: not self._unanswered)

    async def until_asked(self, events: Sequence[Recognized]) -> None:
        """Wait until models are asked about these. Raises TimeoutError: they are not in time."""
        async with asyncio.timeout(_LONGEST):
            while (await self._bus.js.stream_info("INFERENCE")).state.messages < len(events):
                await asyncio.sleep(_PACE)

    async def edit(self, pod: Pod, file: str, text: str, shows: Callable[[Analyzed], bool], **changes: Any) -> float:
        """Put a file into a pod; returns the seconds until a document's answer shows it.

        Args:
            pod: A running one.
            file: Its path in the checkout.
            text: What it holds from now on.
            shows: Whether an answer is of the new code.
            changes: Of the documents, as for `make_recognized`.
        """
        started = time.monotonic()
        await self.put(pod, file, text)
        await self.until(shows, **changes)
        return time.monotonic() - started

    async def put(self, pod: Pod, file: str, text: str) -> None:
        """Put a file into a pod, which need not be ready. Raises CalledProcessError: the pod refuses it."""
        command = ["docker", "exec", "-i", pod.container.id, "tar", "xmf", "-", "-C", SOURCES, "--no-same-owner"]
        await asyncio.to_thread(subprocess.run, command, input=_tar(file, text), check=True, capture_output=True)

    async def _heard(self, message: Any) -> None:
        answer = codec.decode(message.data, Analyzed)
        self._unanswered.discard(answer.document_id)
        self._answers.put_nowait(answer)

    def _remove(self) -> None:
        logs = self._folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for pod in self._pods:
            (logs / f"{pod.name}.log").write_text(pod.log())
            pod.remove()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_LONGEST):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(_PACE)


def describe(what: str, seconds: list[float]) -> str:
    """One line: the median and each edit."""
    each = ", ".join(f"{one:.2f}" for one in seconds)
    return f"{what}: {statistics.median(seconds):.2f} s from an edit to its answer (median; {each})"


def _tar(file: str, text: str) -> bytes:
    content = text.encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(file)
        entry.size, entry.mode = len(content), 0o644
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
