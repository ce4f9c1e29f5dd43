# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Looking through dead letters, on a real server."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from billow.bus import deadletter_shelf, headers
from billow.bus.connection import Bus
from billow.bus.deadletter_shelf import Letter, Query, Recorded, letters, read_letter, remove
from billow.bus.delivery import Delivery
from billow.bus.publish import publish_event
from billow.bus.topology import DEADLETTERS, RECEIPT_FAILURES
from billow.runtime.errors import PermanentError
from billow.schemas import codec
from billow.schemas.events import Submitted
from billow.testkit.consuming import consuming, dead_letters, settled, until
from billow.testkit.events import make_submitted


async def bury_some(bus: Bus, count: int, tenant: str = "default") -> None:
    """`count` letters of tenant's documents doc-0..., their codes in turns `even` and `odd`."""

    async def handler(delivery: Delivery) -> None:
        event = delivery.event(Submitted)
        number = int(event.document_id.partition("-")[2])
        raise PermanentError(f"Number {number}.", code="odd" if number % 2 else "even")

    before = await dead_letters(bus)
    for number in range(count):
        await publish_event(bus, make_submitted(f"doc-{number}", tenant=tenant, event_id=f"{tenant}.{number}"))
    async with consuming(bus, handler, concurrency=1, lookahead=0):
        await until(lambda: settled(bus))
    assert await dead_letters(bus) == before + count


async def found(bus: Bus, query: Query | None = None, *, newest_first: bool = True) -> list[Letter]:
    return [letter async for letter in letters(bus, query, newest_first=newest_first)]


def documents(some: list[Letter]) -> list[str]:
    return [letter.document_id for letter in some]


async def test_letters_come_newest_first_and_by_what_is_asked_for(bus: Bus) -> None:
    assert await found(bus) == []
    await bury_some(bus, 3)
    await bury_some(bus, 2, tenant="other")
    every = await found(bus)
    assert documents(every) == ["doc-1", "doc-0", "doc-2", "doc-1", "doc-0"]
    assert every == (await found(bus, newest_first=False))[::-1]
    assert documents(await found(bus, Query(code="odd"))) == ["doc-1", "doc-1"]
    assert documents(await found(bus, Query(tenant="other"))) == ["doc-1", "doc-0"]
    assert documents(await found(bus, Query(document_id="doc-2"))) == ["doc-2"]
    assert await found(bus, Query(service="layout")) == []
    assert await found(bus, Query(service="ocr", event="submitted")) == every
    assert await found(bus, Query(event="recognized")) == []
    middle = every[2].buried_at
    assert await found(bus, Query(since=middle)) == every[:3]
    assert await found(bus, Query(until=middle), newest_first=False) == every[:2:-1]
    with pytest.raises(ValueError, match="tenant"):
        await found(bus, Query(tenant="No Token"))


async def test_a_letter_says_where_it_came_from_and_why(bus: Bus) -> None:
    await bury_some(bus, 1)
    (letter,) = await found(bus)
    assert (letter.code, letter.message, letter.service, letter.event) == ("even", "Number 0.", "ocr", "submitted")
    assert (letter.tenant, letter.document_id, letter.run_id, letter.deliveries) == ("default", "doc-0", None, 1)
    assert (letter.subject, letter.stream, letter.stream_sequence) == (
        "documents.default.submitted.doc-0",
        "DOCUMENTS",
        1,
    )
    assert abs(datetime.now(UTC) - letter.buried_at) < timedelta(minutes=5)
    whole = await read_letter(bus, letter.sequence)
    assert whole is not None
    assert codec.decode(whole.payload, Submitted).document_id == "doc-0"
    assert (letter.size, letter.cut_from) == (len(whole.payload), None)
    # The two ways to the server's time round it differently.
    assert abs(whole.letter.buried_at - letter.buried_at) < timedelta(milliseconds=1)
    assert msgspec.structs.replace(whole.letter, buried_at=letter.buried_at) == letter
    lines = whole.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "billow.runtime.errors.PermanentError: Number 0."
    assert await read_letter(bus, 99) is None


async def test_many_letters_are_looked_through_in_stretches(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(57):
        tenant = "rare" if number in {0, 56} else "default"
        await bus.js.publish(f"deadletters.{tenant}.ocr.submitted", b"x", headers={headers.DEAD_CODE: str(number)})
    for number in (10, 11, 12):
        assert await remove(bus, number + 1)
    assert not await remove(bus, 11), "it was gone"
    monkeypatch.setattr(deadletter_shelf, "_WIDTH", 4)
    monkeypatch.setattr(deadletter_shelf, "_FEW", 2)
    expected = [str(number) for number in range(57) if number not in {10, 11, 12}]
    assert [letter.code for letter in await found(bus, newest_first=False)] == expected
    assert [letter.code for letter in await found(bus)] == expected[::-1]
    assert [letter.code for letter in await found(bus, Query(tenant="rare"))] == ["56", "0"]
    assert (await bus.js.stream_info(DEADLETTERS.name)).state.consumer_count == 1, "only the receipt service's"


async def test_a_letter_that_somebody_else_wrote_is_shown_too(bus: Bus) -> None:
    strange = {headers.DEAD_SUBJECT: "runs", headers.DEAD_SEQUENCE: "9:x", headers.DEAD_SIZE: "-1"}
    await bus.js.publish("deadletters.default.ocr.submitted", b"", headers=strange)
    (letter,) = await found(bus)
    assert (letter.code, letter.stream_sequence, letter.cut_from, letter.size) == ("unknown", 0, 0, 0)


async def test_it_is_known_whose_failure_is_on_record(bus: Bus) -> None:
    async def handler(_: Delivery) -> None:
        pass

    await bury_some(bus, 2)
    await bus.js.publish("deadletters.default.worker.text-detection", b"x")
    work, *events = await found(bus)
    recorded = await Recorded.read(bus)
    assert [recorded(letter) for letter in (work, *events)] == [True, False, False]
    async with consuming(bus, handler, spec=RECEIPT_FAILURES, buries=False):
        await until(lambda: settled(bus, RECEIPT_FAILURES))
    recorded = await Recorded.read(bus)
    assert all(recorded(letter) for letter in events)
