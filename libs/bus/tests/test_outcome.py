"""Waiting for an outcome on a real server, where looking for it again would come too late."""

import asyncio

import pytest

from billow.bus import outcome
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.outcome import OutcomeWatch, latest_record
from billow.bus.publish import publish_event
from billow.schemas.record import Failure
from billow.testkit.events import make_completed, make_failed


@pytest.fixture(autouse=True)
def never_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "_LOOK_AGAIN_SECONDS", 3600)


async def test_what_comes_later_is_heard_for_its_own_revision_and_run(bus: Bus) -> None:
    async with OutcomeWatch(bus, "default", "doc-1", 2) as watch:
        waiting = asyncio.create_task(watch.record(30))
        await publish_event(bus, make_completed("doc-1", revision=1))
        await publish_event(bus, make_completed("doc-1", revision=2, run_id="run-1"))
        expected = make_failed("doc-1", revision=2)
        await publish_event(bus, expected)
        assert await waiting == expected.record


async def test_what_came_while_the_connection_was_away_is_found_when_it_is_back(
    bus: Bus, embedded_server: EmbeddedServer
) -> None:
    async with OutcomeWatch(bus, "default", "doc-1", 1) as watch:
        waiting = asyncio.create_task(watch.record(60))
        await asyncio.sleep(0)
        await embedded_server.restart()
        async with await Bus.connect(embedded_server.url, name="other") as other:
            expected = make_completed("doc-1")
            await publish_event(other, expected)
            assert await waiting == expected.record


async def test_a_replay_is_not_taken_for_the_record(bus: Bus) -> None:
    error = Failure(code="cancelled", message="It was cancelled.")
    own = make_failed("doc-1", status="cancelled", error=error)
    await publish_event(bus, own)
    await publish_event(bus, make_completed("doc-1", run_id="run-1"))
    assert await latest_record(bus, "default", "doc-1") == own.record
