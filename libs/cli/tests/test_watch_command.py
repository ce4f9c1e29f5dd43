"""`billow watch` and `billow events`, on a real server where the test itself says what happens."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest_asyncio
from rich.console import Console

from billow.bus.connection import Bus
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.cli.commands import events as events_command
from billow.cli.commands import watch as watch_command
from billow.cli.commands.journeys import Journey
from billow.cli.settings import CliSettings
from billow.schemas import codec
from billow.testkit.events import (
    MOMENT,
    make_analyzed,
    make_completed,
    make_failed,
    make_recognized,
    make_submitted,
)
from billow.testkit.plugin import NatsServer


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        yield connected


def start(server: NatsServer, *args: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "billow.cli", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120", "BILLOW_NATS_URL": server.url},
        # As in a terminal, also where the tests themselves run in the background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )


async def events(server: NatsServer, **options: Any) -> tuple[bool, str, str]:
    """What `billow events` prints, by itself: whether it passed, stdout, stderr."""
    out, err = Console(file=io.StringIO(), width=120), Console(file=io.StringIO(), width=120)
    asked: dict[str, Any] = {"document_id": None, "since": None, "kinds": (), "follow": False, "as_table": False}
    asked |= {"tenant": "default", **options}
    chosen = events_command.Options(**asked)
    passed = await events_command.run(chosen, CliSettings(nats_url=server.url), out, err)
    return passed, out.file.getvalue(), err.file.getvalue()  # type: ignore[attr-defined]  # pyright: ignore


async def look(server: NatsServer, *document_ids: str) -> tuple[bool, str, str]:
    """What `billow watch --once --format table` prints, as `events`."""
    out, err = Console(file=io.StringIO(), width=120), Console(file=io.StringIO(), width=120)
    since = datetime.now(UTC) - timedelta(hours=1)
    options = watch_command.Options(document_ids=document_ids, since=since, once=True, as_table=True, tenant="default")
    passed = await watch_command.run(options, CliSettings(nats_url=server.url), out, err)
    return passed, out.file.getvalue(), err.file.getvalue()  # type: ignore[attr-defined]  # pyright: ignore


def test_each_stage_takes_what_lies_between_its_events() -> None:
    journey = Journey(document_id="doc-1")
    now = MOMENT + timedelta(seconds=10)
    journey.take(make_submitted("doc-1"))
    assert (journey.stage, journey.seconds(now)) == ("ocr", {"ocr": 10, "total": 10})
    journey.take(msgspec.structs.replace(make_recognized("doc-1"), occurred_at=MOMENT + timedelta(seconds=4)))
    assert (journey.stage, journey.seconds(now)) == ("layout", {"ocr": 4, "layout": 6, "total": 10})
    journey.take(msgspec.structs.replace(make_analyzed("doc-1"), occurred_at=MOMENT + timedelta(seconds=5)))
    journey.take(msgspec.structs.replace(make_completed("doc-1"), occurred_at=MOMENT + timedelta(seconds=7)))
    assert journey.seconds(now) == {"ocr": 4, "layout": 1, "receipt": 2, "total": 7}
    assert (journey.stage, journey.status) == ("", "completed")
    # A new revision begins anew, and what is still said of the old one changes nothing.
    journey.take(make_submitted("doc-1", revision=2))
    journey.take(make_failed("doc-1"))
    assert (journey.stage, journey.status, journey.revision) == ("ocr", "", 2)


def test_one_that_failed_on_its_way_has_a_total() -> None:
    journey = Journey(document_id="doc-1")
    journey.take(make_submitted("doc-1"))
    journey.take(msgspec.structs.replace(make_failed("doc-1"), occurred_at=MOMENT + timedelta(seconds=3)))
    row = journey.row(MOMENT + timedelta(seconds=9))
    assert (row["status"], row["error"], row["stage"]) == ("failed", "image_missing", None)
    assert row["seconds"]["total"] == 3


async def test_named_documents_are_watched_until_all_have_ended(nats_server: NatsServer, bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    await publish_event(bus, make_submitted("doc-2"))
    process = start(nats_server, "watch", "doc-1", "doc-2")
    assert process.stdout is not None
    first = [json.loads(await asyncio.to_thread(process.stdout.readline)) for _ in range(2)]
    assert {row["document_id"] for row in first} == {"doc-1", "doc-2"}
    assert {row["stage"] for row in first} == {"ocr"}
    for event in (make_recognized("doc-1"), make_completed("doc-1"), make_failed("doc-2")):
        await publish_event(bus, event)
    out, err = await asyncio.to_thread(process.communicate, None, 150)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["event"] for row in rows if row["document_id"] == "doc-1"] == ["recognized", "completed"]
    assert {row["document_id"]: row["status"] for row in rows} == {"doc-1": "completed", "doc-2": "failed"}
    assert (process.returncode, err) == (1, "")


async def test_a_look_shows_where_documents_are_and_who_is_unknown(nats_server: NatsServer, bus: Bus) -> None:
    for event in (make_submitted("doc-1"), make_recognized("doc-1"), make_completed("doc-2")):
        await publish_event(bus, event)
    passed, out, err = await look(nats_server, "doc-1", "doc-2", "doc-3")
    assert not passed
    assert "in layout" in out and "completed" in out and "noodles.jpg" in out
    assert "doc-3" in err
    passed, out, _ = await look(nats_server)
    assert passed
    assert "doc-1" in out and "doc-2" in out
    passed, out, _ = await look(nats_server, "doc-2")
    assert passed and "doc-1" not in out


async def test_a_tenant_is_watched_until_ctrl_c(nats_server: NatsServer, bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    process = start(nats_server, "watch")
    assert process.stdout is not None
    assert json.loads(await asyncio.to_thread(process.stdout.readline))["document_id"] == "doc-1"
    await publish_event(bus, make_submitted("doc-2"))
    assert json.loads(await asyncio.to_thread(process.stdout.readline))["document_id"] == "doc-2"
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.to_thread(process.communicate, None, 150)
    assert (process.returncode, err) == (0, "")


async def test_the_history_of_a_document_comes_whole_or_as_lines_to_read(nats_server: NatsServer, bus: Bus) -> None:
    said = [make_submitted("doc-1"), make_recognized("doc-1"), make_analyzed("doc-1"), make_completed("doc-1")]
    for event in said:
        await publish_event(bus, event)
    await publish_event(bus, make_failed("doc-2"))
    assert await events(nats_server, document_id="doc-1") == (
        True,
        "".join(codec.encode(event).decode() + "\n" for event in said),
        "",
    )
    since = datetime.now(UTC) - timedelta(hours=1)
    _, out, _ = await events(nats_server, kinds=("failed", "completed"), since=since)
    assert [json.loads(line)["document_id"] for line in out.splitlines()] == ["doc-1", "doc-2"]
    passed, out, _ = await events(nats_server, as_table=True)
    assert passed
    assert "image_missing: The image is not there." in out
    assert "6 lines on 1 page" in out and "13.14" in out
    passed, out, err = await events(nats_server, document_id="doc-9")
    assert (passed, out) == (False, "")
    assert "doc-9" in err


async def test_events_are_followed_to_the_end_of_the_document(nats_server: NatsServer, bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    process = start(nats_server, "events", "doc-1", "--follow")
    assert process.stdout is not None
    assert json.loads(await asyncio.to_thread(process.stdout.readline))["type"] == "document.submitted.v1"
    await publish_event(bus, make_completed("doc-1"))
    out, _ = await asyncio.to_thread(process.communicate, None, 150)
    assert json.loads(out)["type"] == "document.completed.v1"
    assert process.returncode == 0


async def test_a_time_that_is_none_is_wrong_usage(nats_server: NatsServer) -> None:
    process = start(nats_server, "watch", "--since", "yesterday")
    _, err = await asyncio.to_thread(process.communicate, None, 150)
    assert process.returncode == 2
    assert "--since" in err
