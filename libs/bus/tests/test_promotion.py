"""Results of runs made official and taken back, also while others do so or the receipt service is behind."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from billow.bus.connection import Bus
from billow.bus.outcome import latest_record
from billow.bus.publish import events, publish_event
from billow.bus.replay import promotion
from billow.bus.replay.book import ReplayBook, Run
from billow.bus.replay.promotion import promote, undo
from billow.bus.replay.sending import Outgoing, Sent, send
from billow.schemas.events import Promoted
from billow.schemas.replay import ReplaySpec
from billow.testkit.events import make_completed

TENANT = "default"


async def finished(bus: Bus, run_id: str, *documents: str, ahead: timedelta = timedelta()) -> Run:
    """A run that completed these documents; `ahead`: by how much the clock of who began it is wrong."""
    for document in documents:
        await publish_event(bus, make_completed(document, run_id=run_id))
    book, now = ReplayBook(bus), datetime.now(UTC)
    await book.open()
    spec = ReplaySpec(run_id=run_id, start="recognized", until=now, created_at=now + ahead)
    run = await book.begin(spec, "test")
    return await book.write(run, msgspec.structs.replace(run.state, status="finished"))


async def promotions(bus: Bus, document: str) -> list[Promoted]:
    """Of a document, the oldest first."""
    found = [event async for event in events(bus, Promoted, TENANT, document)]
    return [*found[1:], *found[:1]]


async def store(bus: Bus, *documents: str) -> None:
    """What the receipt service says once it has stored the last promotion of each."""
    for document in documents:
        last = (await promotions(bus, document))[-1]
        said = msgspec.structs.replace(
            make_completed(document),
            event_id=f"{last.promotion}.{document}",
            record=last.record,
            promotion=last.promotion,
        )
        await publish_event(bus, said)


async def official_from(bus: Bus, document: str) -> str | None:
    """The run whose record is official; None for the service's own."""
    record = await latest_record(bus, TENANT, document)
    assert record is not None
    return record.promoted_from or None


async def test_a_promotion_that_comes_in_between_is_left_and_named(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    for document in ("one", "two"):
        await publish_event(bus, make_completed(document))
    run, other = await finished(bus, "run-a", "one", "two"), await finished(bus, "run-b", "two")

    async def late(bus_: Bus, outgoing: list[Outgoing]) -> Sent:
        monkeypatch.setattr(promotion, "send", send)
        assert (await promote(bus_, other)).stated == 1
        return await send(bus_, outgoing)

    monkeypatch.setattr(promotion, "send", late)
    result = await promote(bus, run)
    assert (result.stated, result.known, result.left_count) == (1, 0, 1)
    assert result.left[0].startswith("default/two: another promotion came in between")
    again = await promote(bus, run)
    assert (again.stated, again.known, again.left_count) == (1, 1, 0)


async def test_the_same_run_promoted_twice_at_once_is_promoted_once_and_left_nowhere(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish_event(bus, make_completed("one"))
    run = await finished(bus, "run-a", "one")

    async def late(bus_: Bus, outgoing: list[Outgoing]) -> Sent:
        monkeypatch.setattr(promotion, "send", send)
        assert (await promote(bus_, run)).stated == 1
        # As after the duplicate window: the server does not know its id any more.
        fields = [{**event.fields, "Nats-Msg-Id": "another"} for event in outgoing]
        return await send(bus_, [event._replace(fields=each) for event, each in zip(outgoing, fields, strict=True)])

    monkeypatch.setattr(promotion, "send", late)
    result = await promote(bus, run)
    assert (result.stated, result.known, result.left_count) == (0, 1, 0)
    assert len(await promotions(bus, "one")) == 1


async def test_what_was_taken_back_is_promoted_again_before_the_receipt_service_stored_that(bus: Bus) -> None:
    await publish_event(bus, make_completed("doc"))
    run = await finished(bus, "run-a", "doc")
    assert (await promote(bus, run)).stated == 1
    await store(bus, "doc")
    assert (await undo(bus, run)).stated == 1
    again = await promote(bus, run)
    assert (again.stated, again.known, again.promotion) == (1, 0, "run-a-p2")
    first, undone, last = await promotions(bus, "doc")
    assert last.before == undone.record == first.before
    assert last.record.promoted_from == "run-a"


async def test_all_is_taken_back_also_what_was_promoted_before_a_part_was(bus: Bus) -> None:
    for document in ("a", "b"):
        await publish_event(bus, make_completed(document))
    run = await finished(bus, "run-a", "a", "b")
    await promote(bus, run)
    await store(bus, "a", "b")
    assert (await undo(bus, run, {"a"})).stated == 1
    await store(bus, "a")
    again = await promote(bus, run)
    assert (again.stated, again.known) == (1, 1)
    await store(bus, "a")
    assert [await official_from(bus, each) for each in ("a", "b")] == ["run-a", "run-a"]
    back = await undo(bus, run)
    assert (back.stated, back.known, back.left_count) == (2, 0, 0)
    await store(bus, "a", "b")
    assert [await official_from(bus, each) for each in ("a", "b")] == [None, None]
    assert (await undo(bus, run)).stated == 0


async def test_a_run_is_taken_back_that_was_begun_by_a_clock_that_is_ahead(bus: Bus) -> None:
    await publish_event(bus, make_completed("doc"))
    run = await finished(bus, "run-a", "doc", ahead=timedelta(minutes=5))
    assert (await promote(bus, run)).stated == 1
    assert (await undo(bus, run)).stated == 1
