# pyright: reportUnknownMemberType=false
"""What one bad request, one bad model or one dead process does to everybody else: real workers, a real server."""

import asyncio
import contextlib
import http.client
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from billow.bus.cancellations import announce
from billow.bus.connection import Bus
from billow.bus.inference import InferenceClient
from billow.bus.presence import present_workers
from billow.bus.provision import provision
from billow.bus.topology import DEADLETTERS, INFERENCE, RESULTS
from billow.runtime.errors import PermanentError
from billow.schemas.geometry import Page, Word
from billow.schemas.inference import Classifications, ClassifyTokens
from billow.testkit.events import make_cancelled, make_submitted
from billow.testkit.plugin import NatsServer
from billow.testkit.ports import free_port

MODEL = "toy_1-0-0"
QUAD = (1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 1.0, 4.0)
TOY = '''
import pathlib, re, time
import numpy as np

class Toy:
    """Labels every word a total. Some words are poison, and a word that is a path holds it up until there is a file."""

    def __init__(self, manifest, folder):
        pass

    def run(self, inputs):
        for word in inputs["words"]:
            if word == "hang":
                time.sleep(3600)
            if word == "grip":
                re.match("(a+)+$", "a" * 60 + "b")  # never lets go of the interpreter
            if word.startswith("/"):
                gate = pathlib.Path(word)
                with gate.with_suffix(".begun").open("a") as begun:
                    begun.write("x")
                while not gate.exists():
                    time.sleep(0.01)
        n = len(inputs["words"])
        return {"labels": np.full(n, "total", object), "scores": np.ones(n, np.float32),
                "groups": np.full(n, -1, np.int32)}
'''


def write_model(folder: Path, code: str = TOY) -> Path:
    """Returns the folder that holds the model's."""
    (folder / "toy").mkdir(parents=True)
    (folder / "toy" / "toy.py").write_text(code)
    (folder / "toy" / "manifest.toml").write_text(
        'name = "toy"\nversion = "1.0.0"\ntask = "token-classification"\nruntimes = ["python"]\nlicence = "MIT"\n'
        'description = "A toy."\n[python]\nentrypoint = "toy:Toy"\n'
    )
    return folder


class Worker:
    """A worker's process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, ready: Path) -> None:
        self.process = process
        self._log = log
        self._ready = ready

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def ready(self) -> None:
        """Wait until it takes work."""

        async def is_ready() -> bool:
            assert self.process.returncode is None, self.log
            return self._ready.exists()

        await until(is_ready)

    async def end(self) -> int:
        """Wait for its end; returns the exit code."""
        return await asyncio.wait_for(self.process.wait(), 150)


class Site:
    """A machine that starts workers."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self._folder = folder
        self._started: list[Worker] = []

    async def start(self, models: Path, **settings: str) -> Worker:
        number = len(self._started)
        log, ready = self._folder / f"worker-{number}.log", self._folder / f"worker-{number}.ready"
        environ = os.environ | {
            "BILLOW_MODELS": str(models),
            "BILLOW_NATS_URL": self._url,
            "BILLOW_READY_FILE": str(ready),
        }
        environ |= {f"BILLOW_{name.upper()}": value for name, value in settings.items()}
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "billow.services.worker", "toy", env=environ, stdout=out, stderr=out
            )
        self._started.append(Worker(process, log, ready))
        return self._started[-1]

    async def close(self) -> None:
        for worker in self._started:
            if worker.process.returncode is None:
                worker.process.kill()
                await worker.process.wait()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return write_model(tmp_path / "models")


@pytest_asyncio.fixture
async def site(nats_server: NatsServer, tmp_path: Path) -> AsyncGenerator[Site]:
    started = Site(nats_server.url, tmp_path)
    yield started
    await started.close()


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncGenerator[Bus]:
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 150) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


async def classify(bus: Bus, name: str, word: str = "7.00") -> tuple[str, ...]:
    payload = ClassifyTokens(pages=(Page(width=9, height=9),), words=(Word(text=word, quad=QUAD),))
    client = InferenceClient(bus, wait=240)
    try:
        result = await client.call(
            make_submitted(name), payload, task="token-classification", model=MODEL, lane="interactive", again=False
        )
    finally:
        with contextlib.suppress(AttributeError):
            await client.close()
    assert isinstance(result.output, Classifications)
    return result.output.labels


async def queued(bus: Bus) -> int:
    return (await bus.js.stream_info(INFERENCE.name)).state.messages


@pytest.mark.timeout(400)
async def test_a_model_that_hangs_on_one_document_is_ended_and_only_that_document_dies(
    bus: Bus, site: Site, models: Path
) -> None:
    names = [f"doc-{n}" for n in range(5)]
    calls = [asyncio.create_task(classify(bus, name, "hang" if name == "doc-2" else "7.00")) for name in names]

    async def all_wait() -> bool:
        return await queued(bus) == len(names)

    await until(all_wait)
    answers = asyncio.gather(*calls, return_exceptions=True)
    ends: list[int] = []
    logs: list[str] = []
    # As whoever supervises it would: again and again.
    while not answers.done():
        # Much longer than any of the others takes, also where the machine stands still for a moment.
        worker = await site.start(models, run_limit="3")
        ended = asyncio.create_task(worker.end())
        await asyncio.wait({ended, answers}, return_when=asyncio.FIRST_COMPLETED)
        logs.append(worker.log)
        if ended.done():
            ends.append(ended.result())
            assert [presence.model for presence in await present_workers(bus)] == [], "its announcement is gone too"
        else:
            ended.cancel()
    assert set(ends) == {1}
    assert "the model hangs" in logs[0]
    assert "doc-2" in logs[0]
    assert MODEL in logs[0]
    for name, answer in zip(names, answers.result(), strict=True):
        if name == "doc-2":
            assert isinstance(answer, PermanentError)
            assert answer.code == "too_many_deliveries"
        else:
            assert answer == ("total",)
    assert (await bus.js.stream_info(DEADLETTERS.name)).state.messages == 1

    async def nothing_waits() -> bool:
        return await queued(bus) == 0

    await until(nothing_waits)


@pytest.mark.timeout(400)
async def test_the_work_of_a_hanging_worker_goes_to_another_at_once(
    bus: Bus, site: Site, models: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    hanging = await site.start(models, run_limit="1")
    await hanging.ready()
    call = asyncio.create_task(classify(bus, "doc", str(gate)))

    async def begun() -> bool:
        return gate.with_suffix(".begun").exists()

    await until(begun)
    other = await site.start(models)
    assert await hanging.end() == 1
    await other.ready()
    ended = time.monotonic()

    async def begun_again() -> bool:
        return len(gate.with_suffix(".begun").read_text()) >= 2

    await until(begun_again)
    assert time.monotonic() - ended < 60
    gate.touch()
    assert await call == ("total",)
    other.process.send_signal(signal.SIGTERM)
    assert await other.end() == 0


@pytest.mark.timeout(400)
async def test_a_model_that_never_lets_go_of_the_interpreter_is_ended_too(bus: Bus, site: Site, models: Path) -> None:
    worker = await site.start(models, run_limit="0.5")
    await worker.ready()
    call = asyncio.create_task(classify(bus, "doc", "grip"))
    assert await worker.end() == 1
    assert "toy.py" in worker.log, "it says where it was stuck"
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


@pytest.mark.timeout(400)
async def test_work_of_a_worker_that_is_killed_is_delivered_once_more_and_answered(
    bus: Bus, site: Site, models: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    killed = await site.start(models)
    await killed.ready()
    calls = [asyncio.create_task(classify(bus, f"doc-{n}", str(gate))) for n in range(3)]

    async def begun() -> bool:
        return gate.with_suffix(".begun").exists()

    async def all_in_hand() -> bool:
        info = await bus.js.consumer_info(INFERENCE.name, f"{MODEL}_interactive")
        return info.num_ack_pending == 3

    await until(begun)
    await until(all_in_hand)
    killed.process.kill()
    await killed.end()
    gate.touch()
    other = await site.start(models)
    await other.ready()
    assert await asyncio.gather(*calls) == [("total",)] * 3

    async def nothing_waits() -> bool:
        return await queued(bus) == 0

    await until(nothing_waits)
    info = await bus.js.consumer_info(INFERENCE.name, f"{MODEL}_interactive")
    assert info.delivered is not None
    assert info.delivered.consumer_seq == 6, "three, and each once more"
    assert (await bus.js.stream_info(RESULTS.name)).state.messages == 3
    assert (await bus.js.stream_info(DEADLETTERS.name)).state.messages == 0


@pytest.mark.timeout(300)
async def test_a_worker_with_another_model_of_the_same_name_does_not_start(
    bus: Bus, site: Site, models: Path, tmp_path: Path
) -> None:
    first = await site.start(models)
    await first.ready()
    changed = write_model(tmp_path / "changed", TOY.replace('"total"', '"tax"'))
    other = await site.start(changed)
    assert await other.end() == 1
    (presence,) = await present_workers(bus)
    for part in ("toy 1.0.0", f"A worker on {presence.host} ", "another version", str(changed / "toy")):
        assert part in other.log
    assert len(presence.digest) == 64
    assert await classify(bus, "doc") == ("total",)
    same = await site.start(write_model(tmp_path / "copy"))
    await same.ready()
    assert {worker.digest for worker in await present_workers(bus)} == {presence.digest}


@pytest.mark.timeout(300)
async def test_prometheus_reads_what_a_worker_did(bus: Bus, site: Site, models: Path) -> None:
    port = free_port()
    worker = await site.start(models, metrics_port=str(port))
    await worker.ready()
    await classify(bus, "doc")
    lines = (await asyncio.to_thread(scrape, port)).splitlines()
    assert f'billow_inference_requests_total{{model="{MODEL}",outcome="answered"}} 1.0' in lines
    (spent,) = (line.split()[1] for line in lines if line.startswith("billow_model_seconds_total{"))
    assert float(spent) > 0


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


@pytest.mark.timeout(300)
async def test_cancelled_documents_cost_a_real_worker_nothing(
    bus: Bus, site: Site, models: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = await site.start(models)
    await worker.ready()
    busy = asyncio.create_task(classify(bus, "busy", str(gate)))

    async def begun() -> bool:
        return gate.with_suffix(".begun").exists()

    await until(begun)
    unwanted = asyncio.create_task(classify(bus, "unwanted", "hang"))

    async def both_wait() -> bool:
        return await queued(bus) == 2

    await until(both_wait)
    await announce(bus, make_cancelled("unwanted"))
    # When it answers this, it has heard that.
    await bus.client.request(f"$SRV.PING.{MODEL}", timeout=30)
    gate.touch()
    assert await busy == ("total",)
    with pytest.raises(PermanentError) as caught:
        await unwanted
    assert caught.value.code == "cancelled"
    assert await classify(bus, "next") == ("total",), "it did not begin with what would have hung"
