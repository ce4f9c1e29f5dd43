"""Events of a document and of a tenant, from history on, on a real server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.publish import publish_event
from billow.client import Billow
from billow.schemas.events import Completed, DocumentEvent, Submitted
from billow.testkit.events import (
    make_analyzed,
    make_cancelled,
    make_completed,
    make_failed,
    make_recognized,
    make_submitted,
)


async def names(events: AsyncGenerator[DocumentEvent], limit: int = 1_000) -> list[str]:
    """What they are, of which document, until they end or there are so many."""
    found: list[str] = []
    async with aclosing(events):
        async for event in events:
            found.append(f"{type(event).__name__} {event.document_id}.{event.revision}")
            if len(found) == limit:
                break
    return found


async def test_a_document_is_followed_from_its_beginning_to_its_end(billow: Billow, bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    await publish_event(bus, make_submitted("doc-2"))
    following = asyncio.create_task(names(billow.events("doc-1")))
    for event in (make_recognized("doc-1"), make_completed("doc-2"), make_analyzed("doc-1"), make_completed("doc-1")):
        await publish_event(bus, event)
    async with asyncio.timeout(60):
        assert await following == ["Submitted doc-1.1", "Recognized doc-1.1", "Analyzed doc-1.1", "Completed doc-1.1"]
    # Again, all of it is history.
    assert await names(billow.events("doc-1", kinds=["completed"])) == ["Completed doc-1.1"]


async def test_it_goes_on_while_a_higher_revision_is_worked_on(billow: Billow, bus: Bus) -> None:
    for event in (make_submitted("doc-1"), make_failed("doc-1"), make_submitted("doc-1", revision=2)):
        await publish_event(bus, event)
    following = asyncio.create_task(names(billow.events("doc-1")))
    await publish_event(bus, make_cancelled("doc-1", revision=2))
    await publish_event(bus, make_failed("doc-1", revision=2))
    async with asyncio.timeout(60):
        assert (await following)[-2:] == ["Cancelled doc-1.2", "Failed doc-1.2"]


async def test_what_there_is_now_and_nothing_to_come(billow: Billow, bus: Bus) -> None:
    assert await names(billow.events("doc-1", follow=False)) == []
    for event in (make_submitted("doc-1"), make_completed("doc-2", tenant="other"), make_completed("doc-1")):
        await publish_event(bus, event)
    assert await names(billow.events(follow=False)) == ["Submitted doc-1.1", "Completed doc-1.1"]
    assert await names(billow.events(follow=False, kinds=["failed", "completed"])) == ["Completed doc-1.1"]
    moment = datetime.now(UTC) + timedelta(hours=1)
    assert await names(billow.events(follow=False, since=moment)) == []
    assert len(await names(billow.events(follow=False, since=timedelta(hours=1)))) == 2


async def test_many_pages_of_history_come_whole_and_in_order(billow: Billow, bus: Bus) -> None:
    documents = [f"doc-{number}" for number in range(1_500)]
    for start in range(0, len(documents), 100):
        await asyncio.gather(*(publish_event(bus, make_submitted(name)) for name in documents[start : start + 100]))
    await bus.js.publish("documents.default.submitted.doc-x", b"nonsense")
    found = [event.document_id async for event in billow.events(follow=False)]
    assert sorted(found) == sorted(documents)
    assert len(found) == len(set(found))


async def test_a_tenant_is_followed_from_now_on_over_a_restart_without_a_gap(
    embedded_server: EmbeddedServer,
) -> None:
    async with Billow(embedded_server.url) as here, await Bus.connect(embedded_server.url, name="other") as there:
        await publish_event(there, make_submitted("before"))
        events = here.events(kinds=["submitted", "completed"])
        first = asyncio.ensure_future(anext(events))
        number = 0
        while not first.done():
            # It listens from some moment on, which cannot be seen from here.
            await publish_event(there, make_submitted(f"early-{number}"))
            number += 1
        assert (await first).document_id.startswith("early")
        following = asyncio.create_task(until(events, "last"))
        await publish_event(there, make_submitted("doc-1"))
        await embedded_server.restart()
        await publish_event(there, make_recognized("doc-1"))
        await publish_event(there, make_completed("doc-1"))
        await publish_event(there, make_submitted("last"))
        async with asyncio.timeout(60):
            found = await following
        assert [(type(event), event.document_id) for event in found if not event.document_id.startswith("early")] == [
            (Submitted, "doc-1"),
            (Completed, "doc-1"),
            (Submitted, "last"),
        ]


async def until(events: AsyncGenerator[DocumentEvent], document_id: str) -> list[DocumentEvent]:
    found: list[DocumentEvent] = []
    async with aclosing(events):
        async for event in events:
            found.append(event)
            if event.document_id == document_id:
                break
    return found


async def test_wrong_questions_are_refused(billow: Billow) -> None:
    with pytest.raises(ValueError, match="completed"):
        await names(billow.events(kinds=["done"]))  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="time zone"):
        await names(billow.events(since=datetime(2026, 1, 1)))  # noqa: DTZ001
    with pytest.raises(ValueError, match="document_id"):
        await names(billow.events("A.B"))
