# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Events on a real server."""

import msgspec

from billow.bus.connection import Bus
from billow.bus.publish import already_stated, latest_event, publish_event
from billow.bus.topology import DOCUMENTS
from billow.schemas.events import Recognized, Submitted
from billow.testkit.events import make_recognized, make_submitted


async def test_an_event_said_twice_is_stored_once(bus: Bus) -> None:
    event = make_submitted("doc-1")
    first = await publish_event(bus, event)
    assert await publish_event(bus, event) == first
    assert (await bus.js.stream_info(DOCUMENTS.name)).state.messages == 1


async def test_an_event_is_json_with_a_trace_under_its_subject(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    message = await bus.js.get_last_msg(DOCUMENTS.name, "documents.default.submitted.doc-1")
    fields = message.headers or {}
    assert fields["Content-Type"] == "application/json"
    assert fields["Nats-Msg-Id"] == "doc-1.1.submitted"
    assert fields["traceparent"].startswith("00-")
    assert msgspec.json.decode(message.data or b"")["type"] == "document.submitted.v1"


async def test_the_latest_event_comes_back_equal(bus: Bus) -> None:
    event = make_recognized("doc-1")
    assert await latest_event(bus, Recognized, "default", "doc-1") is None
    await publish_event(bus, event)
    assert await latest_event(bus, Recognized, "default", "doc-1") == event
    assert await latest_event(bus, Submitted, "default", "doc-1") is None


async def test_an_outcome_counts_for_its_own_and_lower_revisions(bus: Bus) -> None:
    await publish_event(bus, make_recognized("doc-1", revision=2))
    assert await already_stated(bus, Recognized, "default", "doc-1", 1)
    assert await already_stated(bus, Recognized, "default", "doc-1", 2)
    assert not await already_stated(bus, Recognized, "default", "doc-1", 3)
    assert not await already_stated(bus, Recognized, "default", "doc-2", 1)
