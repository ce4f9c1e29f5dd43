"""Every process as its own user, with the rights that the export gives it: one document goes all the way."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from billow.bus.connection import Bus
from billow.bus.erasure import document_erasure, find_report, state_erasure
from billow.bus.exports.permissions import Serves, identities
from billow.bus.exports.rights import Identity
from billow.bus.exports.users import users_config
from billow.bus.planning.apply import apply_topology
from billow.bus.settings import Access
from billow.cli.stack.process import SupervisedProcess
from billow.client import Billow
from billow.testkit.cluster import Node
from billow.testkit.consuming import until
from billow.testkit.models import DETECTOR, DETECTOR_TOKEN, OLD, TAGGER, write_pretend_models, write_pretend_tagger
from samples.receipts import render_receipt

pytestmark = [pytest.mark.component, pytest.mark.timeout(400)]

PASSWORD = "secret"
TAGGER_TOKEN = f"{TAGGER}_1-0-0"
MODELS = {
    DETECTOR: Serves("text-detection", DETECTOR_TOKEN),
    OLD: Serves("text-recognition", OLD),
    TAGGER: Serves("token-classification", TAGGER_TOKEN),
}


def users_of(domain: str) -> dict[str, Identity]:
    return {each.name: each for each in identities(tenants=("acme",), models=list(MODELS.values()), domain=domain)}


USERS = users_of("")
SERVICES = ("ocr", "layout", "receipt")
DENIED = ("NATS denies", "Violation")


def environ(user: str) -> dict[str, str]:
    return {
        "BILLOW_NATS_USER": user,
        "BILLOW_NATS_PASSWORD": PASSWORD,
        "BILLOW_NATS_INBOX_PREFIX": USERS[user].inbox_prefix,
    }


def access(user: str) -> Access:
    return Access(nats_user=user, nats_password=PASSWORD, nats_inbox_prefix=USERS[user].inbox_prefix)


@pytest.fixture(params=["", "hub"], ids=["no domain", "a domain"])
def domain(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def server(tmp_path: Path, domain: str) -> AsyncIterator[Node]:
    """An nats-server that knows the users of the export, with all streams made by the operator."""
    users = users_config(list(users_of(domain).values()), dict.fromkeys(USERS, PASSWORD))
    jetstream = {
        "store_dir": str(tmp_path / "store"),
        "max_file_store": 1024**4,
        **({"domain": domain} if domain else {}),
    }
    more = {"authorization": {"users": users, "timeout": 10}, "jetstream": jetstream}
    async with Node("guarded", tmp_path, tmp_path, 0, more) as node:
        await node.restart()
        async with await Bus.connect(node.url, name="operator", domain=domain, access=access("operator")) as bus:
            assert await apply_topology(bus) == ()
            assert await apply_topology(bus) == ()
        yield node


@pytest_asyncio.fixture
async def processes(server: Node, tmp_path: Path, domain: str) -> AsyncIterator[None]:
    """All services and workers, each as its own user."""
    models = tmp_path / "models"
    models.mkdir()
    write_pretend_models(models, detect_ms=5, recognise_ms=5)
    write_pretend_tagger(models, {"0": "store_name"})
    everyone = {
        "BILLOW_NATS_URL": server.url,
        "BILLOW_NATS_DOMAIN": domain,
        "BILLOW_MODELS": str(models),
        "BILLOW_LOG_LEVEL": "debug",
        "BILLOW_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'billow.db'}",
        "BILLOW_DETECTION_MODEL": DETECTOR_TOKEN,
        "BILLOW_RECOGNITION_MODEL": OLD,
        "BILLOW_LAYOUT_MODEL": TAGGER_TOKEN,
        "BILLOW_STOP_WITH_PARENT": "1",
    }
    commands = {name: [sys.executable, "-m", f"billow.services.{name}"] for name in SERVICES}
    commands |= {
        f"worker-{each.model}": [sys.executable, "-m", "billow.services.worker", name] for name, each in MODELS.items()
    }
    async with contextlib.AsyncExitStack() as stack:
        started: list[SupervisedProcess] = []
        for name, command in commands.items():
            process = SupervisedProcess(name, command, environ=everyone | environ(name), folder=tmp_path)
            process.start()
            stack.push_async_callback(process.stop)
            started.append(process)
        for process in started:
            await process.wait_ready(180)
        yield


def denials(folder: Path) -> list[str]:
    """Lines of all logs, the server's too, that tell of a refusal."""
    lines = [line for log in folder.glob("*.log") for line in log.read_text().splitlines()]
    assert any("ready" in line.lower() for line in lines)
    return [line for line in lines if any(word in line for word in DENIED)]


async def erased(bus: Bus, sequence: int) -> bool:
    report = await find_report(bus, "acme", sequence)
    return report is not None and report.state == "done" and any(each.count for each in report.removed)


async def test_a_document_goes_all_the_way_and_nobody_is_refused_anything(
    server: Node, processes: None, domain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ("client-acme").items():
        monkeypatch.setitem(os.environ, name, value)
    async with Billow(server.url, tenant="acme", domain=domain) as billow:
        record = await billow.extract(render_receipt(1)[0], timeout=120)
        assert record.status == "completed", record.error
        assert await billow.text(record.document_id)
        assert [event.document_id async for event in billow.events(record.document_id)]
        async with billow.subscribe("shop", since=timedelta(days=1)) as subscription:
            first = await asyncio.wait_for(anext(subscription), 120)
            assert first.document_id == record.document_id
        assert await billow.unsubscribe("shop")

        async def all_announced() -> bool:
            return sorted(each.model for each in await billow.workers()) == sorted(
                each.model for each in MODELS.values()
            )

        async def nothing_queued() -> bool:
            return await billow.queue_depth("text-detection", DETECTOR_TOKEN) == 0

        # A worker that stood still is not listed until it says so again; and it answers first, then takes the work out.
        await until(all_announced, 60)
        await until(nothing_queued, 60)
        assert (await billow.extract(b"no picture", timeout=120)).status == "failed"
        # It comes too late, and is said all the same.
        ended = await billow.cancel(record.document_id, reason="a test", timeout=120)
        assert ended is not None
        assert ended.status == "completed"
    async with await Bus.connect(server.url, name="operator", domain=domain, access=access("operator")) as bus:
        sequence = await state_erasure(bus, document_erasure("acme", record.document_id, reason="a test"))
        await until(lambda: erased(bus, sequence), 120)
    assert denials(tmp_path) == []
