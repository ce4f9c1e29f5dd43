# pyright: reportUnknownMemberType=false
"""A worker on a workstation: it reaches a hub of three servers only through a leaf node, with few rights there."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nats.errors
import pytest
import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.inference import InferenceClient
from billow.bus.presence import present_workers
from billow.bus.provision import ensure_models
from billow.bus.topology import MODELS_BUCKET
from billow.runtime.errors import TransientError
from billow.schemas.geometry import Page, Word
from billow.schemas.inference import Classifications, ClassifyTokens
from billow.testkit.cluster import NODES, Hub, provision_hub
from billow.testkit.events import make_submitted
from billow.testkit.workstation import DOMAIN

pytestmark = [pytest.mark.component, pytest.mark.timeout(400)]

TAKEN_BACK = 9.0
"""seconds; an announcement that its worker left behind is listed for at least ten"""
QUAD = (1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 1.0, 4.0)
TOY = '''
import pathlib, time
import numpy as np

class Toy:
    """Labels every word a total. A word that is a path holds it up until there is a file."""

    def __init__(self, manifest, folder):
        pass

    def run(self, inputs):
        for gate in (pathlib.Path(word) for word in inputs["words"] if word.startswith("/")):
            gate.with_suffix(".begun").touch()
            while not gate.exists():
                time.sleep(0.01)
        n = len(inputs["words"])
        return {"labels": np.full(n, "total", object), "scores": np.ones(n, np.float32),
                "groups": np.full(n, -1, np.int32)}
'''


@pytest.fixture
def models(tmp_path: Path, hub: Hub) -> Path:
    """A folder with the one model that the workstation may serve."""
    name, _, version = hub.workstation.model.partition("_")
    folder = tmp_path / "models" / name
    folder.mkdir(parents=True)
    (folder / "toy.py").write_text(TOY)
    (folder / "manifest.toml").write_text(
        f'name = "{name}"\nversion = "{version.replace("-", ".")}"\ntask = "{hub.workstation.task}"\n'
        'runtimes = ["python"]\nlicence = "MIT"\ndescription = "A toy."\n[python]\nentrypoint = "toy:Toy"\n'
    )
    return tmp_path / "models"


class Worker:
    """The process of a worker behind the leaf."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, ready: Path) -> None:
        self.process = process
        self.ready = ready
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 90)


Running = contextlib.AbstractAsyncContextManager[Worker]


@pytest.fixture
def worker(hub: Hub, models: Path, tmp_path: Path) -> Running:
    """A worker that takes work while the context lasts."""
    log, ready = tmp_path / "worker.log", tmp_path / "worker.ready"
    environ = os.environ | {
        "BILLOW_MODELS": str(models),
        "BILLOW_NATS_URL": hub.leaf_url,
        "BILLOW_NATS_DOMAIN": DOMAIN,
        "BILLOW_NATS_INBOX_PREFIX": hub.workstation.inbox_prefix,
        "BILLOW_READY_FILE": str(ready),
        "BILLOW_LOG_LEVEL": "debug",
    }

    @contextlib.asynccontextmanager
    async def running() -> AsyncGenerator[Worker]:
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "billow.services.worker", "toy", env=environ, stdout=out, stderr=out
            )
        started = Worker(process, log, ready)
        try:
            await until(lambda: alive_and_ready(started))
            yield started
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    return running()


async def alive_and_ready(worker: Worker) -> bool:
    assert worker.process.returncode is None, worker.log
    return worker.ready.exists()


@pytest_asyncio.fixture
async def bus(hub: Hub) -> AsyncGenerator[Bus]:
    """A service's connection at the hub, which makes all streams and buckets with three copies."""
    async with await Bus.connect(hub.url, name="test", domain=DOMAIN) as connected:
        await provision_hub(connected)
        yield connected


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while True:
            # While the hub chooses a new leader nobody answers.
            with contextlib.suppress(TransientError):
                if await condition():
                    return
            await asyncio.sleep(0.05)


async def ask(bus: Bus, hub: Hub, name: str, word: str = "7.00") -> Classifications:
    """Ask as a service does: while the hub chooses a new leader the document is given back, and comes again."""
    payload = ClassifyTokens(pages=(Page(width=9, height=9),), words=(Word(text=word, quad=QUAD),))
    client, event, again = InferenceClient(bus, wait=90), make_submitted(name), False
    while True:
        try:
            result = await client.call(
                event,
                payload,
                task="token-classification",
                model=hub.workstation.model,
                lane="interactive",
                again=again,
            )
        except TransientError:
            again = True
            await asyncio.sleep(0.1)
            continue
        assert isinstance(result.output, Classifications)
        return result.output


async def names(bus: Bus) -> list[str]:
    return [presence.model for presence in await present_workers(bus)]


async def nobody_is_listed(bus: Bus) -> bool:
    return await names(bus) == []


async def asked(bus: Bus, subject: str) -> dict[str, Any]:
    """What a worker answers on one of its micro subjects; the servers of the hub tell each other of it in a moment."""
    answers: list[dict[str, Any]] = []

    async def answered() -> bool:
        with contextlib.suppress(nats.errors.NoRespondersError, nats.errors.TimeoutError):
            answers.append(json.loads((await bus.client.request(subject, timeout=10)).data))
        return bool(answers)

    await until(answered)
    return answers[0]


async def nobody_answers(bus: Bus, subject: str) -> bool:
    """A server that was not told yet that a worker is gone lets the question run out."""
    with contextlib.suppress(nats.errors.TimeoutError):
        try:
            await bus.client.request(subject, timeout=2)
        except nats.errors.NoRespondersError:
            return True
    return False


async def waiting(bus: Bus) -> int:
    """Requests that are not acknowledged yet."""
    return (await bus.js.stream_info("INFERENCE")).state.messages


async def begun(gate: Path) -> bool:
    """Whether the model is at work on the document that this gate holds up."""
    return gate.with_suffix(".begun").exists()


async def announces_work(bus: Bus) -> bool:
    """Whether what it says of itself, every few seconds, is later than the work that it did."""
    return any(presence.requests >= 2 for presence in await present_workers(bus))


async def listed(bus: Bus, hub: Hub) -> bool:
    return await names(bus) == [hub.workstation.model]


async def test_it_is_listed_at_the_hub_answers_it_and_leaves_when_told(
    hub: Hub, bus: Bus, worker: Running, tmp_path: Path
) -> None:
    model = hub.workstation.model
    async with worker as process:
        # Any server of the hub may be asked, and may learn of it a moment later.
        await until(lambda: listed(bus, hub))
        pong = await asked(bus, "$SRV.PING")
        assert (pong["name"], pong["version"]) == (model, "1.0.0")
        stats = await asked(bus, f"$SRV.STATS.{model}")
        assert stats["id"] == pong["id"]

        assert (await ask(bus, hub, "doc-1")).labels == ("total",)

        gate = tmp_path / "gate"
        held = asyncio.create_task(ask(bus, hub, "doc-2", str(gate)))

        await until(lambda: begun(gate))
        process.process.send_signal(signal.SIGTERM)
        gate.touch()
        assert (await held).labels == ("total",)
        assert await asyncio.wait_for(process.process.wait(), 90) == 0, process.log
        # An announcement that is not taken back would lapse by itself, but later.
        await until(lambda: nobody_is_listed(bus), TAKEN_BACK)
        await until(lambda: nobody_answers(bus, f"$SRV.PING.{model}"))

    async def all_acknowledged() -> bool:
        return await waiting(bus) == 0

    await until(all_acknowledged)


async def test_it_goes_on_when_the_link_comes_back(hub: Hub, bus: Bus, worker: Running, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with worker as process:
        held = asyncio.create_task(ask(bus, hub, "doc-1", str(gate)))

        await until(lambda: begun(gate))
        await hub.cut_leaf()
        queued = asyncio.create_task(ask(bus, hub, "doc-2"))
        gate.touch()

        async def both_wait() -> bool:
            return await waiting(bus) == 2

        await until(both_wait)
        assert not held.done() and not queued.done()
        await hub.join_leaf()
        assert (await held).labels == (await queued).labels == ("total",)
        await until(lambda: announces_work(bus))
        assert await process.stop() == 0, process.log
        await until(lambda: nobody_is_listed(bus), TAKEN_BACK)


@pytest.mark.parametrize("role", ["leads its consumer", "holds its link"])
async def test_it_goes_on_when_a_server_of_the_hub_dies(hub: Hub, bus: Bus, worker: Running, role: str) -> None:
    async with worker as process:
        assert (await ask(bus, hub, "doc-1")).labels == ("total",)
        cluster = (await bus.js.consumer_info("INFERENCE", f"{hub.workstation.model}_interactive")).cluster
        assert cluster is not None and cluster.leader is not None
        dead = hub.node(cluster.leader) if role == "leads its consumer" else hub.linked_node
        await hub.kill_node(dead)
        answers = await asyncio.gather(*(ask(bus, hub, f"doc-{i}") for i in range(2, 6)))
        assert [answer.labels for answer in answers] == [("total",)] * 4
        await hub.restart_node(dead)
        await until(lambda: listed(bus, hub))
        assert (await ask(bus, hub, "doc-6")).labels == ("total",)
        assert await process.stop() == 0, process.log


async def makes_models(bus: Bus) -> bool:
    await ensure_models(bus)
    return True


async def test_buckets_and_streams_have_three_copies(bus: Bus) -> None:
    # Also where somebody who does not know the cluster came first.
    await bus.js.delete_key_value(MODELS_BUCKET)
    await until(lambda: makes_models(bus))
    await provision_hub(bus)
    for name in ("DOCUMENTS", "INFERENCE", "RESULTS", "DEADLETTERS", "KV_WAITS", f"KV_{MODELS_BUCKET}"):
        assert (await bus.js.stream_info(name)).config.num_replicas == NODES, name


async def test_it_serves_where_nobody_keeps_the_list_and_is_listed_once_somebody_does(
    hub: Hub, bus: Bus, worker: Running
) -> None:
    await bus.js.delete_key_value(MODELS_BUCKET)
    async with worker as process:
        assert "not listed yet" in process.log
        assert (await ask(bus, hub, "doc-1")).labels == ("total",)
        await provision_hub(bus)
        await until(lambda: listed(bus, hub))
        assert await process.stop() == 0, process.log
