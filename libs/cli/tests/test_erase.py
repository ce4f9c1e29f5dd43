"""`billow erase` beside the receipt service that carries it out."""

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from rich.console import Console
from typer.testing import CliRunner

from billow.bus.connection import Bus
from billow.bus.images import ImageStore
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.bus.tenants import set_policy
from billow.bus.topology import RECEIPT, RECEIPT_ERASURES
from billow.cli.__main__ import app
from billow.cli.commands import erase as command
from billow.cli.commands.erase import What
from billow.runtime.errors import UsageError
from billow.schemas.tenants import TenantPolicy
from billow.services.receipt.forgetting import forgetting
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.store import Store
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.events import make_analyzed, make_submitted
from billow.testkit.plugin import NatsServer

pytestmark = pytest.mark.component


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bus]:
    monkeypatch.setenv("BILLOW_NATS_URL", nats_server.url)
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store.create(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    await store.migrate()
    yield store
    await store.close()


@pytest_asyncio.fixture
async def service(bus: Bus, store: Store) -> AsyncIterator[None]:
    handler = ReceiptHandler(bus, store, min_confidence=0.7)
    async with (
        forgetting(bus, store.engine, again=0.2, sweep=0) as erasures,
        consuming(bus, erasures.guarded(handler.on_analyzed), RECEIPT),
        consuming(bus, erasures.on_erased, RECEIPT_ERASURES),
    ):
        yield


async def hand_in(bus: Bus, document_id: str, tenant: str = "default") -> None:
    await ImageStore(bus.client).put(tenant, f"{document_id}/original", b"picture")
    await publish_event(bus, make_submitted(document_id, tenant=tenant))
    await publish_event(bus, make_analyzed(document_id, tenant=tenant))
    await until(lambda: settled(bus, RECEIPT), timeout=60)


async def erase(what: What, *, table: bool = False, wait: float = 60, ask: bool = False) -> tuple[bool, str, str]:
    """Whether it is done, and what was printed."""
    out, err = Console(file=io.StringIO(), width=120), Console(file=io.StringIO(), width=200)
    done = await command.erase(what, ask=ask, wait=wait, table=table, out=out, err=err)
    return done, printed(out), printed(err)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def removed(line: str) -> dict[str, int]:
    report = json.loads(line)
    return {each["place"]: each["count"] for each in report["removed"] if each["count"]}


async def test_a_document_is_gone_and_the_account_says_from_where(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-1")
    await hand_in(bus, "doc-2")
    done, out, err = await erase(What(document="doc-1", tenant="default", reason="ticket 12"))
    assert (done, err) == (True, "")
    assert (json.loads(out)["reason"], json.loads(out)["state"]) == ("ticket 12", "done")
    assert removed(out) == {"images": 1, "records": 1, "events": 3}
    assert await store.get("default", "doc-1") is None
    assert await store.get("default", "doc-2") is not None
    _, out, _ = await erase(What(document="doc-1", tenant="default"), table=True)
    assert out.strip() == "Nothing was there to be removed."


async def test_a_dry_run_counts_and_changes_nothing(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-1")
    out, err = Console(file=io.StringIO(), width=120), Console(file=io.StringIO(), width=120)
    await command.preview(What(tenant="default"), False, out, err)
    assert removed(printed(out)) == {"images": 1, "events": 3}
    assert "Nothing was changed" in printed(err)
    assert await store.get("default", "doc-1") is not None


async def test_a_tenant_is_erased_and_shown_as_a_table(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-3", "acme")
    _, out, _ = await erase(What(tenant="acme"), table=True)
    assert all(word in out for word in ("everything", "acme", "images", "records", "events"))
    assert await store.count("acme") == 0


async def test_what_is_past_its_retention_goes_on_demand(bus: Bus, store: Store, service: None) -> None:
    await hand_in(bus, "doc-4", "brief")
    await hand_in(bus, "doc-5", "calm")
    assert await erase(What(expired=True)) == (True, "", "")
    await set_policy(bus, "brief", TenantPolicy(retention_s=3600))
    _, out, _ = await erase(What(expired=True))
    assert removed(out) == {}
    done, out, _ = await erase(What(before=datetime.now(UTC), tenant="brief"))
    assert done
    assert removed(out) == {"images": 1, "records": 1, "events": 3}
    assert await store.count() == await store.count("calm") == 1
    done, out, _ = await erase(What(before=datetime.now(UTC)))
    assert {json.loads(line)["tenant"] for line in out.splitlines()} == {"brief", "calm"}
    assert await store.count() == 0


async def test_while_the_receipt_service_is_away_it_is_stated_and_said_so(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    done, _, err = await erase(What(document="doc-1", tenant="default"), wait=0.5)
    assert not done
    assert "It stays stated" in err


async def test_nothing_is_erased_without_a_yes(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    before = (await bus.js.stream_info("DOCUMENTS")).state.messages  # pyright: ignore[reportUnknownMemberType]
    for terminal, typed in ((False, "default\n"), (True, "yes\n"), (True, "\n")):
        answer = io.StringIO(typed)
        monkeypatch.setattr(answer, "isatty", lambda terminal=terminal: terminal)
        monkeypatch.setattr("sys.stdin", answer)
        with pytest.raises(UsageError, match=r"--yes|Not confirmed"):
            await erase(What(tenant="default"), ask=True)
    assert (await bus.js.stream_info("DOCUMENTS")).state.messages == before  # pyright: ignore[reportUnknownMemberType]
    typed_name = io.StringIO("default\n")
    monkeypatch.setattr(typed_name, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", typed_name)
    done, _, _ = await erase(What(tenant="default"), ask=True, wait=0.2)
    assert not done
    assert (await bus.js.stream_info("DOCUMENTS")).state.messages == before + 1  # pyright: ignore[reportUnknownMemberType]


@pytest.mark.parametrize(
    "args", [(), ("--document", "a", "--older-than", "1d"), ("--expired", "--tenant", "a"), ("--older-than", "soon")]
)
def test_what_makes_no_sense_is_refused(args: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, ["erase", "--yes", *args]).exit_code == 2
