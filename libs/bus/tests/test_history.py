# pyright: reportUnknownMemberType=false
"""Reading many stored messages at a time."""

from datetime import UTC, datetime

import pytest

from billow.bus import history as module
from billow.bus.connection import Bus
from billow.bus.history import History
from billow.bus.publish import publish_event
from billow.testkit.events import make_completed, make_recognized, make_submitted

SUBJECT = "documents.*.recognized.*"


async def sequences(bus: Bus, **options: object) -> list[int]:
    found = [batch async for batch in History(bus).batches(SUBJECT, **options)]  # pyright: ignore[reportArgumentType]
    return [stored.sequence for batch in found for stored in batch]


async def test_all_batches_in_order_and_nothing_else(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 4)
    wanted: list[int] = []
    for number in range(10):
        await publish_event(bus, make_submitted(f"doc-{number}"))
        wanted.append(await publish_event(bus, make_recognized(f"doc-{number}")))
    assert await sequences(bus) == wanted
    assert await sequences(bus, first=wanted[3] + 1) == wanted[4:]


async def test_a_range_of_time_is_that_of_the_server(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    early = [await publish_event(bus, make_recognized(f"early-{number}")) for number in range(3)]
    middle = datetime.now(UTC)
    late = [await publish_event(bus, make_recognized(f"late-{number}")) for number in range(3)]
    assert await sequences(bus, until=middle) == early
    assert await sequences(bus, since=middle) == late
    assert await sequences(bus, since=middle, until=middle) == []


async def test_an_empty_stream_has_no_batches(bus: Bus) -> None:
    assert await sequences(bus) == []
    assert await History(bus).newest([SUBJECT.replace("*", "a")]) == {}


async def test_the_last_messages_of_many_subjects(bus: Bus) -> None:
    for number in range(600):
        await publish_event(bus, make_completed(f"doc-{number}"))
    again = await publish_event(bus, make_completed("doc-7", revision=2))
    names = [f"documents.default.completed.doc-{number}" for number in range(620)]
    found = await History(bus).newest(names)
    assert sorted(found) == sorted(names[:600])
    assert found[names[7]].sequence == again
