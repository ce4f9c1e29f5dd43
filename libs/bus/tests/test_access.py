# pyright: reportUnknownMemberType=false
"""Who we are for a server that asks, and for one that a cluster told us of."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from billow.bus.connection import Bus
from billow.bus.settings import Access, Servers
from billow.runtime.errors import StackUnreachableError, UsageError
from billow.testkit.cluster import Hub, Node
from billow.testkit.workstation import DOMAIN

PASSWORD = "p@ss:word/1"


@pytest_asyncio.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Node]:
    """A server that knows one user, who may not hear about `secret`."""
    user = {"user": "ana", "password": PASSWORD, "permissions": {"subscribe": {"deny": ["secret"]}}}
    async with Node("guarded", tmp_path, tmp_path, 0, {"authorization": {"users": [user]}}) as server:
        await server.restart()
        yield server


async def test_the_environment_says_who_we_are(guarded: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLOW_NATS_USER", "ana")
    monkeypatch.setenv("BILLOW_NATS_PASSWORD", PASSWORD)
    monkeypatch.setenv("BILLOW_NATS_INBOX_PREFIX", "_INBOX.desk")
    async with await Bus.connect(guarded.url, name="test") as bus:
        assert bus.client.is_connected
        assert bus.client.new_inbox().startswith("_INBOX.desk.")


async def test_so_does_the_url(guarded: Node) -> None:
    url = guarded.url.replace("://", "://ana:p%40ss%3Aword%2F1@")
    async with await Bus.connect(url, name="test") as bus:
        assert bus.client.is_connected


async def test_who_is_not_let_in_reads_what_to_set_and_no_password(guarded: Node) -> None:
    url = guarded.url.replace("://", "://ana:guess@")
    with pytest.raises(StackUnreachableError, match=r"does not let us in.*BILLOW_NATS_USER") as caught:
        await Bus.connect(url, name="test", timeout=5)
    assert "guess" not in str(caught.value)
    assert f"127.0.0.1:{guarded.port}" in str(caught.value)


async def test_a_denied_subject_is_said_once(guarded: Node) -> None:
    access = Access(nats_user="ana", nats_password=PASSWORD)
    with capture_logs() as logs:
        async with await Bus.connect(guarded.url, name="test", access=access) as bus:
            for _ in range(2):
                await bus.client.subscribe("secret")
                await bus.client.flush()
    told = [entry["reason"] for entry in logs if entry["log_level"] == "warning"]
    assert len(told) == 1
    assert "secret" in told[0]


async def test_a_server_that_the_cluster_told_us_of_lets_us_in_too(hub: Hub) -> None:
    first = hub.url.split(",")[0]
    async with await Bus.connect(first, name="test", domain=DOMAIN) as bus:
        again = asyncio.Event()
        bus.on_reconnect(again.set)
        await hub.kill_node(0)
        await asyncio.wait_for(again.wait(), 60)
        await bus.client.flush()
        assert bus.client.connected_url is not None
        assert bus.client.connected_url.port in {node.port for node in hub.nodes[1:]}


def test_a_url_names_servers_and_one_user_for_all() -> None:
    servers = Servers("nats://ana:b%40b@one:4222, two ,tls://three:4443")
    assert servers.urls == ["nats://one:4222", "nats://two", "tls://three:4443"]
    assert str(servers) == "nats://one:4222,nats://two,tls://three:4443"
    known = servers.known_as(Access())
    assert (known.nats_user, known.nats_password) == ("ana", "b@b")
    told = servers.known_as(Access(nats_user="bo", nats_password="c"))
    assert (told.nats_user, told.nats_password) == ("bo", "c")


async def test_a_token_stands_alone(tmp_path: Path) -> None:
    async with Node("guarded", tmp_path, tmp_path, 0, {"authorization": {"token": "t0ken"}}) as server:
        await server.restart()
        async with await Bus.connect(server.url.replace("://", "://t0ken@"), name="test") as bus:
            assert bus.client.is_connected


@pytest.mark.parametrize("url", ["", " , "])
async def test_no_server_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError, match="BILLOW_NATS_URL names no server"):
        await Bus.connect(url, name="test")


async def test_credentials_that_are_not_there(tmp_path: Path) -> None:
    access = Access(nats_credentials=str(tmp_path / "desk.creds"))
    with pytest.raises(UsageError, match=r"BILLOW_NATS_CREDENTIALS names .*desk\.creds, which is not a file"):
        await Bus.connect("nats://127.0.0.1:9", name="test", access=access)


@pytest.mark.parametrize("prefix", ["_INBOX.", "_INBOX.>", "a b", ""])
def test_an_inbox_prefix_that_is_no_subject(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLOW_NATS_INBOX_PREFIX", prefix)
    with pytest.raises(UsageError, match="BILLOW_NATS_INBOX_PREFIX"):
        Access.from_environment()
