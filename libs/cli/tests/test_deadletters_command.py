# pyright: reportUnknownMemberType=false
"""`billow deadletters` as an operator meets it, on a real server with the real receipt service's handler."""

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from typer.testing import CliRunner

from billow.bus.connection import Bus
from billow.bus.consume import Delivery
from billow.bus.outcome import latest_record
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.bus.topology import RECEIPT, RECEIPT_FAILURES
from billow.cli import console
from billow.cli.__main__ import app
from billow.runtime.errors import PermanentError
from billow.services.receipt.handlers import ReceiptHandler
from billow.services.receipt.store import Store
from billow.testkit.consuming import consuming, settled, until
from billow.testkit.events import make_analyzed, make_submitted
from billow.testkit.plugin import NatsServer

NOBODY = "nats://127.0.0.1:9"


class Terminal:
    """Runs the command against one server, in this process: starting Python takes longer than all the rest."""

    def __init__(self, url: str) -> None:
        self._runner = CliRunner(env={"BILLOW_NATS_URL": url})

    async def deadletters(self, *args: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        result = await asyncio.to_thread(self._runner.invoke, app, ["deadletters", *args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    async def lines(self, *args: str) -> list[dict[str, Any]]:
        """What it prints as JSON."""
        code, out, err = await self.deadletters(*args, "--format", "jsonl")
        assert (code, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncGenerator[Bus]:
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setattr(console.out, "width", 140)
    yield
    # The command says how it logs.
    structlog.reset_defaults()


@pytest.fixture
def terminal(nats_server: NatsServer) -> Terminal:
    return Terminal(nats_server.url)


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store]:
    """The receipt service's database."""
    opened = Store.create(f"sqlite+aiosqlite:///{tmp_path / 'records.db'}")
    await opened.migrate()
    yield opened
    await opened.close()


async def bury(bus: Bus, count: int) -> None:
    """Letters of doc-0 to doc-<count - 1>; the code of the first is `first`."""

    async def handler(delivery: Delivery) -> None:
        first = delivery.subject.endswith("doc-0")
        raise PermanentError("The photo of [b]noodles[/b] is gone.", code="first" if first else "image_missing")

    for number in range(count):
        await publish_event(bus, make_submitted(f"doc-{number}"))
    async with consuming(bus, handler, concurrency=1, lookahead=0):
        await until(lambda: settled(bus))


async def test_letters_are_listed_for_people_and_for_programs(bus: Bus, terminal: Terminal) -> None:
    assert (await terminal.deadletters("list", "--format", "table"))[:2] == (0, "No dead letters.\n")
    await bury(bus, 3)
    rows = await terminal.lines("list")
    assert [row["document_id"] for row in rows] == ["doc-2", "doc-1", "doc-0"]
    assert [row["sequence"] for row in rows] == [3, 2, 1]
    assert rows[0]["code"] == "image_missing"
    assert [row["sequence"] for row in await terminal.lines("list", "--reason", "first")] == [1]
    assert [row["sequence"] for row in await terminal.lines("list", "--document", "doc-1")] == [2]
    assert [row["sequence"] for row in await terminal.lines("list", "--limit", "1")] == [3]
    assert await terminal.lines("list", "--older-than", "1h") == []
    assert len(await terminal.lines("list", "--newer-than", "1h", "--service", "ocr", "--event", "submitted")) == 3
    code, out, _ = await terminal.deadletters("list", "--format", "table", "--limit", "2")
    assert code == 0
    for part in ("image_missing", "ocr", "submitted", "doc-2", "The photo of [b]noodles[/b] is gone.", "newest 2"):
        assert part in out
    assert "doc-0" not in out


async def test_a_letter_is_shown_whole(bus: Bus, terminal: Terminal) -> None:
    await bury(bus, 1)
    (row,) = await terminal.lines("show", "1")
    assert row["payload"]["document_id"] == "doc-0"
    assert row["payload"]["type"] == "document.submitted.v1"
    assert row["headers"]["Content-Type"] == "application/json"
    assert row["traceback"].splitlines()[-1].endswith("The photo of [b]noodles[/b] is gone.")
    code, out, _ = await terminal.deadletters("show", "1", "--format", "table")
    assert code == 0
    for part in ("reason", "first", "DOCUMENTS 1", "documents.default.submitted.doc-0", "Content-Type", "Traceback"):
        assert part in out
    code, out, _ = await terminal.deadletters("show", "1", "--raw")
    assert json.loads(out) == row["payload"]
    code, out, err = await terminal.deadletters("show", "9")
    assert (code, out) == (1, "")
    assert "9" in err


async def test_a_redriven_document_that_had_failed_completes(bus: Bus, terminal: Terminal, store: Store) -> None:
    async def mistaken(delivery: Delivery) -> None:
        raise PermanentError("A mistake of ours.", code="image_missing")

    real = ReceiptHandler(bus, store, min_confidence=0.9)
    for name in ("doc-1", "doc-2"):
        await publish_event(bus, make_analyzed(name))
    async with consuming(bus, mistaken, RECEIPT):
        await until(lambda: settled(bus, RECEIPT))
    async with consuming(bus, real.on_dead_letter, RECEIPT_FAILURES, buries=False):
        await until(lambda: settled(bus, RECEIPT_FAILURES))
    assert await store.count(status="failed") == 2
    rehearsed = await terminal.lines("redrive", "--reason", "image_missing", "--dry-run")
    assert [row["sequence"] for row in rehearsed] == [1, 2]
    assert len(await terminal.lines("list")) == 2
    async with consuming(bus, real.on_analyzed, RECEIPT):
        code, out, _ = await terminal.deadletters("redrive", "--reason", "image_missing", "--format", "table")
        assert (code, out) == (0, "2 sent again\n")
        await until(lambda: settled(bus, RECEIPT))
    assert (await store.count(), await store.count(status="completed")) == (2, 2)
    record = await latest_record(bus, "default", "doc-1")
    assert record is not None and record.status == "completed"
    assert await terminal.lines("list") == []
    assert (await terminal.deadletters("redrive", "--all", "--format", "table"))[:2] == (0, "No dead letters.\n")


async def test_a_redrive_says_what_it_would_not_send(bus: Bus, terminal: Terminal) -> None:
    await bus.js.publish("deadletters.default.ocr.submitted", b"{}")
    await bury(bus, 1)
    code, out, _ = await terminal.deadletters("redrive", "1", "2", "9", "--format", "jsonl")
    rows = {row["sequence"]: row for row in map(json.loads, out.splitlines())}
    assert code == 1
    assert {sequence: row["outcome"] for sequence, row in rows.items()} == {1: "refused", 2: "sent", 9: "gone"}
    assert "does not say where" in rows[1]["reason"]
    code, out, _ = await terminal.deadletters("redrive", "--all", "--format", "table")
    assert code == 1
    assert "1: The letter does not say where" in out


async def test_a_purge_counts_first_and_keeps_what_has_no_record_yet(
    bus: Bus, terminal: Terminal, store: Store
) -> None:
    await bury(bus, 3)
    code, out, err = await terminal.deadletters("purge", "--all", "--yes")
    assert code == 1
    assert "0 letters purged" in out
    assert "3 letters stay" in err
    real = ReceiptHandler(bus, store, min_confidence=0.9)
    async with consuming(bus, real.on_dead_letter, RECEIPT_FAILURES, buries=False):
        await until(lambda: settled(bus, RECEIPT_FAILURES))
    code, out, err = await terminal.deadletters("purge", "--reason", "image_missing")
    assert code == 2
    assert out.split() == ["2", "image_missing"]
    assert "--yes" in err
    assert len(await terminal.lines("list")) == 3
    code, out, err = await terminal.deadletters("purge", "--reason", "image_missing", "--yes")
    assert (code, err) == (0, "")
    assert "2 letters purged" in out
    assert [row["code"] for row in await terminal.lines("list")] == ["first"]
    assert await store.count(status="failed") == 3, "the records stay"


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["redrive"], "say which letters"),
        (["redrive", "1", "--all"], "say which letters"),
        (["purge"], "say which letters"),
        (["list", "--newer-than", "soon"], "--newer-than"),
        (["list", "--tenant", "No Token"], "tenant"),
    ],
)
async def test_wrong_usage_is_exit_code_2_and_says_what(
    bus: Bus, terminal: Terminal, command: list[str], says: str
) -> None:
    code, out, err = await terminal.deadletters(*command)
    assert code == 2
    assert says in out + err


async def test_no_stack_is_exit_code_3() -> None:
    code, out, err = await Terminal(NOBODY).deadletters("list")
    assert (code, out) == (3, "")
    assert "billow up" in " ".join(err.split())
