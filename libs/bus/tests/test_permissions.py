# pyright: reportUnknownMemberType=false
"""What each user may not do, on a server that was configured by the export."""

import contextlib
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import nats
import pytest_asyncio
from nats.aio.client import Client

from billow.bus.embedded import find_binary
from billow.bus.exports.permissions import ASKS, Serves, identities, service, worker
from billow.bus.exports.users import users_conf, users_config
from billow.bus.topology import CONSUMERS, FLOWS
from billow.schemas.events import EVENT_NAMES
from billow.testkit.cluster import Node
from billow.testkit.consuming import until

DETECT, READ = Serves("text-detection", "det_1-0-0"), Serves("text-recognition", "rec_1-0-0")
USERS = {each.name: each for each in identities(tenants=("acme", "umbrella"), models=(DETECT, READ))}

PUBLISH: list[tuple[str, str]] = [
    ("client-acme", "documents.acme.recognized.d"),
    ("client-acme", "documents.acme.completed.d"),
    ("client-acme", "documents.acme.promoted.d"),
    ("client-acme", "documents.acme.erased.d"),
    ("client-acme", "documents.umbrella.submitted.d"),
    ("client-acme", "cancelled.umbrella.d"),
    ("client-acme", "runs.acme.r.submitted.d"),
    ("client-acme", "inference.text-detection.det_1-0-0.bulk.acme"),
    ("client-acme", "results.acme.text-detection.q"),
    ("client-acme", "deadletters.acme.ocr.submitted"),
    ("client-acme", "$O.IMAGES_umbrella.C.n"),
    ("client-acme", "$KV.ROUTES.text-detection"),
    ("client-acme", "$KV.TENANTS.acme"),
    ("client-acme", "$KV.WAITS.DOCUMENTS.ocr.1"),
    ("client-acme", "$JS.API.DIRECT.GET.OBJ_IMAGES_umbrella"),
    ("client-acme", "$JS.API.STREAM.MSG.GET.DOCUMENTS"),
    ("client-acme", "$JS.API.STREAM.DELETE.DOCUMENTS"),
    ("client-acme", "$JS.API.STREAM.PURGE.DOCUMENTS"),
    ("client-acme", "$JS.API.STREAM.UPDATE.DOCUMENTS"),
    ("client-acme", "$JS.API.STREAM.CREATE.MINE"),
    ("client-acme", "$JS.API.CONSUMER.CREATE.DOCUMENTS.ocr.documents.acme.submitted.*"),
    ("client-acme", "$JS.API.CONSUMER.CREATE.DOCUMENTS.ocr"),
    ("client-acme", "$JS.API.CONSUMER.DELETE.DOCUMENTS.receipt"),
    ("client-acme", "$JS.API.CONSUMER.MSG.NEXT.DOCUMENTS.layout"),
    ("client-acme", "$JS.API.CONSUMER.CREATE.DEADLETTERS.x"),
    ("client-acme", "$JS.ACK.DOCUMENTS.ocr.1.1.1.1.0"),
    ("client-acme", "_INBOX.ocr.x"),
    ("ocr", "documents.acme.submitted.d"),
    ("ocr", "documents.acme.analyzed.d"),
    ("ocr", "documents.acme.completed.d"),
    ("ocr", "documents.acme.failed.d"),
    ("ocr", "runs.acme.r.completed.d"),
    ("ocr", "inference.token-classification.rules_1-0-0.bulk.acme"),
    ("ocr", "results.acme.text-detection.q"),
    ("ocr", "deadletters.acme.layout.recognized"),
    ("ocr", "$O.IMAGES_acme.C.n"),
    ("ocr", "$KV.WAITS.DOCUMENTS.layout.1"),
    ("ocr", "$KV.ROUTES.text-detection"),
    ("ocr", "$JS.API.CONSUMER.MSG.NEXT.DOCUMENTS.layout"),
    ("ocr", "$JS.API.DIRECT.GET.DEADLETTERS"),
    ("ocr", "$JS.API.STREAM.MSG.GET.DEADLETTERS"),
    ("ocr", "$JS.API.STREAM.CREATE.DOCUMENTS"),
    ("ocr", "$JS.API.STREAM.PURGE.OBJ_IMAGES_acme"),
    ("ocr", "$JS.ACK.DOCUMENTS.receipt.1.1.1.1.0"),
    ("layout", "documents.acme.recognized.d"),
    ("layout", "documents.acme.completed.d"),
    ("layout", "inference.text-detection.det_1-0-0.bulk.acme"),
    ("layout", "$JS.API.DIRECT.GET.OBJ_IMAGES_acme"),
    ("layout", "$JS.API.CONSUMER.MSG.NEXT.DOCUMENTS.ocr"),
    ("receipt", "documents.acme.analyzed.d"),
    ("receipt", "documents.acme.submitted.d"),
    ("receipt", "inference.token-classification.rules_1-0-0.bulk.acme"),
    ("receipt", "results.acme.token-classification.q"),
    ("receipt", "$JS.API.STREAM.DELETE.DOCUMENTS"),
    ("receipt", "$JS.API.STREAM.UPDATE.DOCUMENTS"),
    ("receipt", "$JS.API.CONSUMER.MSG.NEXT.DOCUMENTS.ocr"),
    ("receipt", "$JS.API.CONSUMER.DELETE.RUNS.layout-runs"),
    ("receipt", "$KV.ROUTES.text-detection"),
    ("worker-det_1-0-0", "documents.acme.completed.d"),
    ("worker-det_1-0-0", "documents.acme.submitted.d"),
    ("worker-det_1-0-0", "inference.text-detection.det_1-0-0.bulk.acme"),
    ("worker-det_1-0-0", "results.acme.text-recognition.q"),
    ("worker-det_1-0-0", "deadletters.acme.ocr.submitted"),
    ("worker-det_1-0-0", "deadletters.acme.worker.text-recognition"),
    ("worker-det_1-0-0", "$KV.MODELS.rec_1-0-0.w"),
    ("worker-det_1-0-0", "$JS.API.DIRECT.GET.DOCUMENTS"),
    ("worker-det_1-0-0", "$JS.API.DIRECT.GET.DOCUMENTS.documents.acme.recognized.d"),
    ("worker-det_1-0-0", "$JS.API.STREAM.MSG.GET.DOCUMENTS"),
    ("worker-det_1-0-0", "$JS.API.DIRECT.GET.RESULTS.results.acme.text-recognition.q"),
    ("worker-det_1-0-0", "$JS.API.CONSUMER.MSG.NEXT.INFERENCE.rec_1-0-0_bulk"),
    ("worker-det_1-0-0", "$JS.API.CONSUMER.CREATE.DOCUMENTS.x"),
    ("worker-det_1-0-0", "$JS.API.STREAM.INFO.DOCUMENTS"),
    ("operator", "documents.acme.completed.d"),
    ("operator", "documents.acme.failed.d"),
    ("operator", "results.acme.text-detection.q"),
    ("operator", "orders.7"),
]
SUBSCRIBE: list[tuple[str, str]] = [
    ("client-acme", "documents.umbrella.completed.*"),
    ("client-acme", "documents.>"),
    ("client-acme", "results.acme.text-detection.*"),
    ("client-acme", "inference.>"),
    ("client-acme", "deadletters.>"),
    ("client-acme", "_INBOX.>"),
    ("client-acme", "_INBOX.operator.>"),
    ("client-umbrella", "_INBOX.client-acme.>"),
    ("ocr", "documents.>"),
    ("ocr", "results.*.token-classification.*"),
    ("ocr", "_INBOX.receipt.>"),
    ("layout", "results.*.text-detection.*"),
    ("receipt", "results.>"),
    ("receipt", "inference.>"),
    ("worker-det_1-0-0", "documents.>"),
    ("worker-det_1-0-0", "inference.>"),
    ("worker-det_1-0-0", "results.>"),
    ("worker-det_1-0-0", "_INBOX.ocr.>"),
    ("worker-det_1-0-0", "$SRV.INFO.rec_1-0-0"),
    ("operator", "_INBOX.ocr.>"),
    ("operator", ">"),
]


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Node]:
    users = users_config(list(USERS.values()), dict.fromkeys(USERS, "secret"))
    more = {
        "authorization": {"users": users},
        "jetstream": {"store_dir": str(tmp_path / "store"), "max_file_store": 1024**4},
    }
    async with Node("guarded", tmp_path, tmp_path, 0, more) as node:
        await node.restart()
        yield node


@contextlib.asynccontextmanager
async def connected(server: Node, user: str) -> AsyncGenerator[tuple[Client, list[str]]]:
    """A stock client, and the server's words against it."""
    said: list[str] = []

    async def on_error(error: Exception) -> None:
        said.append(str(error))

    client = await nats.connect(server.url, user=user, password="secret", error_cb=on_error)
    async with client:
        yield client, said


async def refused(said: list[str]) -> str:
    """The one thing that the server says against it."""
    await until(lambda: len(said) > 0)
    (reason,) = said
    return reason.lower()


async def test_nobody_may_say_what_is_not_its_own(server: Node) -> None:
    for user in USERS:
        async with connected(server, user) as (client, said):
            for subject in (subject for who, subject in PUBLISH if who == user):
                said.clear()
                await client.publish(subject, b"x")
                assert f'permissions violation for publish to "{subject}"'.lower() in await refused(said)


async def test_nobody_may_hear_what_is_not_its_own(server: Node) -> None:
    for user in USERS:
        async with connected(server, user) as (client, said):
            for subject in (subject for who, subject in SUBSCRIBE if who == user):
                said.clear()
                await client.subscribe(subject)
                assert f'permissions violation for subscription to "{subject}"'.lower() in await refused(said)


def test_each_event_of_the_record_has_its_publishers_and_no_others() -> None:
    for flow in FLOWS:
        subject = f"documents.*.{EVENT_NAMES[flow.event]}.*"
        publishers = {name for name in ASKS if subject in service(name).rights.publish}
        assert publishers == set(flow.published_by) & set(ASKS)


def test_each_consumer_is_pulled_by_its_service_alone() -> None:
    for spec in CONSUMERS:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{spec.durable}"
        assert [name for name in ASKS if subject in service(name).rights.publish] == [spec.service]


def test_a_site_serves_all_its_models_through_one_user() -> None:
    both = worker("desk", (DETECT, READ), "hub", site="desk")
    assert both.inbox_prefix == "_INBOX.desk"
    assert "results.*.token-classification.*" in both.rights.deny_publish
    assert "results.*.text-recognition.*" not in both.rights.deny_publish
    for model in (DETECT.model, READ.model):
        assert f"$JS.hub.API.CONSUMER.MSG.NEXT.INFERENCE.{model}_bulk" in both.rights.publish


def test_the_server_reads_the_file_that_is_generated(tmp_path: Path) -> None:
    users = list(USERS.values())
    (tmp_path / "users.conf").write_text(users_conf(users))
    (tmp_path / "server.conf").write_text("include ./users.conf\n")
    passwords = {each.password_variable: "secret" for each in users}
    command = [str(find_binary()), "-t", "-c", "server.conf"]
    result = subprocess.run(command, cwd=tmp_path, env=passwords, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    missing = subprocess.run(command, cwd=tmp_path, env={}, capture_output=True, text=True, check=False)
    assert "BILLOW_PASSWORD_OPERATOR" in missing.stderr + missing.stdout
