# pyright: reportUnknownMemberType=false
"""What kills the process that handles it ends as a dead letter after its attempts, and the others go on.

Services and workers are real processes, started again whenever they die, as whoever supervises them does.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace

from billow.bus.connection import Bus
from billow.bus.deadletter_shelf import Letter, letters
from billow.bus.embedded import EmbeddedServer
from billow.bus.inference import InferenceClient
from billow.bus.planning.apply import change_consumer
from billow.bus.provision import provision
from billow.bus.publish import latest_event, publish_event
from billow.bus.redrive import redrive
from billow.bus.topology import LAYOUT, MAX_DELIVERIES, OCR, ConsumerSpec, inference_consumer
from billow.runtime.errors import PermanentError
from billow.schemas.events import Analyzed
from billow.schemas.geometry import Page
from billow.schemas.inference import Classifications, ClassifyTokens, Word
from billow.testkit.consuming import dead_letters, until
from billow.testkit.events import make_recognized, make_submitted, quad_of_line

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

PATIENCE = 400
ACK_WAIT = 4
"""seconds after which what a dead process held comes back; one that stands still for as long wastes an attempt"""
TASK, MODEL = "token-classification", "deadly_1-0-0"
SUPERVISED = """
import ctypes, os, sys
import msgspec

{setup}

# What a supervisor does, without importing everything anew each time.
test = os.getppid()
while os.getppid() == test:
    if not (child := os.fork()):
        sys.exit({main})
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
SERVICE = """
import billow.services.{name}.__main__ as service
from billow.services.{name} import handlers

# What a dead process held comes back soon.
service.{spec} = msgspec.structs.replace(service.{spec}, ack_wait={ack_wait})
real = handlers.{handler}.{work}

async def deadly(self, clock, event, again):
    if event.document_id == "poison":
        {death}
    await real(self, clock, event, again)

handlers.{handler}.{work} = deadly
"""
OCR_DIES = SERVICE.format(
    name="ocr", spec="OCR", ack_wait=ACK_WAIT, handler="OcrHandler", work="_recognize", death="os._exit(9)"
)
LAYOUT_DIES = SERVICE.format(
    name="layout",
    spec="LAYOUT",
    ack_wait=ACK_WAIT,
    handler="LayoutHandler",
    work="_analyze",
    death="ctypes.string_at(0)",
)
WORKER = f"""
import billow.bus.work as work
import billow.services.worker.__main__ as service

real = work.inference_consumer
work.inference_consumer = lambda *names: msgspec.structs.replace(real(*names), ack_wait={ACK_WAIT})
"""
MANIFEST = """name = "deadly"
version = "1.0.0"
task = "token-classification"
runtimes = ["python"]
licence = "Apache-2.0"
description = "Dies of a word."

[python]
entrypoint = "deadly:Deadly"

[batching]
max_batch = 32
max_wait_ms = 2
"""
CODE = '''
import ctypes

import numpy as np


class Deadly:
    """Labels every word `total`, and reads where it must not at the word `poison`."""

    device = "cpu"
    metadata = {}

    def __init__(self, manifest, folder):
        pass

    def run(self, inputs):
        words = inputs["words"].tolist()
        if "poison" in words:
            ctypes.string_at(0)
        count = len(words)
        return {
            "labels": np.array(["total"] * count, dtype=object),
            "scores": np.full(count, 0.9, np.float32),
            "groups": np.full(count, -1, np.int32),
            "kind": np.array(["receipt"], dtype=object),
            "language": np.array(["en"], dtype=object),
        }

    def close(self):
        pass
'''


@pytest_asyncio.fixture
async def bus(embedded_server: EmbeddedServer) -> AsyncGenerator[Bus]:
    async with await Bus.connect(embedded_server.url, name="test") as connected:
        await provision(connected)
        yield connected


@contextlib.asynccontextmanager
async def supervised(
    setup: str, url: str, folder: Path, *, main: str = "service.main()", **environ: str
) -> AsyncGenerator[Callable[[], list[int]]]:
    """A process that is started again whenever it ends; gives what tells its exit codes so far."""
    ends, log = folder / "ends.txt", folder / "service.log"
    with ends.open("wb") as out, log.open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SUPERVISED.format(setup=setup, main=main),
            env=os.environ | {"BILLOW_NATS_URL": url, "BILLOW_STOP_WITH_PARENT": "1"} | environ,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield lambda: [int(line) for line in ends.read_text().split()]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def comes_back_soon(bus: Bus, spec: ConsumerSpec) -> None:
    await change_consumer(bus, replace(spec, ack_wait=ACK_WAIT))


async def the_letters(bus: Bus, count: int) -> dict[str, Letter]:
    async def all_there() -> bool:
        return await dead_letters(bus) >= count

    await until(all_there, timeout=PATIENCE)
    found = {letter.document_id: letter async for letter in letters(bus)}
    assert len(found) == count
    return found


async def test_a_segmentation_fault_of_a_service_takes_one_document_and_no_other(
    bus: Bus, embedded_server: EmbeddedServer, tmp_path: Path
) -> None:
    await comes_back_soon(bus, LAYOUT)
    names = ["before", "poison", "beside", "after"]
    for name in names:
        # Without words no model is asked.
        await publish_event(bus, make_recognized(name, lines=()))

    async def is_analyzed(name: str) -> bool:
        return await latest_event(bus, Analyzed, "default", name) is not None

    async with supervised(LAYOUT_DIES, embedded_server.url, tmp_path) as ends:
        letter = (await the_letters(bus, 1))["poison"]
        for name in names:
            if name != "poison":
                await until(lambda name=name: is_analyzed(name), timeout=PATIENCE)
    assert not await is_analyzed("poison")
    assert (letter.code, letter.service) == ("too_many_deliveries", "layout")
    assert letter.deliveries >= MAX_DELIVERIES
    assert ends() == [-signal.SIGSEGV] * MAX_DELIVERIES, "each of its attempts, the trial included"
    assert (await redrive(bus, letter.sequence)).outcome == "sent", "when the cause is mended"


async def test_a_service_that_ends_without_a_word_takes_one_document_and_no_other(
    bus: Bus, embedded_server: EmbeddedServer, tmp_path: Path
) -> None:
    await comes_back_soon(bus, OCR)
    for name in ("before", "poison", "after"):
        await publish_event(bus, make_submitted(name))
    async with supervised(OCR_DIES, embedded_server.url, tmp_path) as ends:
        found = await the_letters(bus, 3)
    codes = {name: letter.code for name, letter in found.items()}
    # Nobody put the photos of the others there, which is how one sees that they were looked at.
    assert codes == {"before": "image_missing", "poison": "too_many_deliveries", "after": "image_missing"}
    assert ends() == [9] * MAX_DELIVERIES


async def test_a_segmentation_fault_of_a_model_takes_one_request_and_no_other(
    bus: Bus, embedded_server: EmbeddedServer, tmp_path: Path
) -> None:
    home = tmp_path / "models" / "deadly"
    home.mkdir(parents=True)
    (home / "manifest.toml").write_text(MANIFEST)
    (home / "deadly.py").write_text(CODE)
    await comes_back_soon(bus, inference_consumer(TASK, MODEL, "interactive"))
    names = ["before", "poison", "after"]
    async with InferenceClient(bus, wait=PATIENCE) as client:

        async def classify(name: str) -> object:
            payload = ClassifyTokens(
                pages=(Page(width=400, height=600),), words=(Word(text=name, quad=quad_of_line(0)),)
            )
            result = await client.call(
                make_submitted(name), payload, task=TASK, model=MODEL, lane="interactive", again=False
            )
            return result.output

        worker = supervised(
            WORKER,
            embedded_server.url,
            tmp_path,
            main="service.main('deadly')",
            BILLOW_MODELS=str(tmp_path / "models"),
        )
        async with worker as ends:
            answers = await asyncio.gather(*map(classify, names), return_exceptions=True)
            letter = (await the_letters(bus, 1))["poison"]
    for name, answer in zip(names, answers, strict=True):
        if name == "poison":
            assert isinstance(answer, PermanentError) and answer.code == "too_many_deliveries"
        else:
            assert isinstance(answer, Classifications) and answer.labels == ("total",)
    assert (letter.code, letter.service, letter.event) == ("too_many_deliveries", "worker", TASK)
    assert ends() == [-signal.SIGSEGV] * MAX_DELIVERIES
