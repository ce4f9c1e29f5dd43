# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Events on a real server."""

import msgspec
import pytest

from billow.bus.connection import Bus
from billow.bus.outcome import Outcomes, latest_record
from billow.bus.publish import already_stated, latest_event, publish, publish_event
from billow.bus.topology import DOCUMENTS
from billow.runtime.errors import PermanentError
from billow.schemas.events import Recognized, Submitted
from billow.testkit.events import make_completed, make_recognized, make_submitted


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
    assert fields["Nats-Msg-Id"] == "default.doc-1.1.submitted"
    assert fields["traceparent"].startswith("00-")
    assert msgspec.json.decode(message.data or b"")["type"] == "document.submitted.v1"


async def test_the_latest_event_comes_back_equal(bus: Bus) -> None:
    event = make_recognized("doc-1")
    assert await latest_event(bus, Recognized, "default", "doc-1") is None
    await publish_event(bus, event)
    assert await latest_event(bus, Recognized, "default", "doc-1") == event
    assert await latest_event(bus, Submitted, "default", "doc-1") is None


async def test_an_outcome_counts_for_its_own_revision_and_run_whatever_came_after(bus: Bus) -> None:
    for revision in (1, 3):
        await publish_event(bus, make_recognized("doc-1", revision=revision))
    for revision, stated in ((1, True), (2, False), (3, True), (4, False)):
        assert await already_stated(bus, Recognized, make_submitted("doc-1", revision=revision)) == stated
    assert not await already_stated(bus, Recognized, make_submitted("doc-1", run_id="run-1"))
    assert not await already_stated(bus, Recognized, make_submitted("doc-2"))


async def test_each_revision_has_its_own_record_in_whatever_order_they_end(bus: Bus) -> None:
    for revision in (1, 3, 2):
        await publish_event(bus, make_completed("doc-1", revision=revision))
    await bus.js.publish("documents.default.completed.doc-1", b"nonsense")
    for revision in (1, 2, 3):
        async with Outcomes(bus, "default").watch("doc-1", revision) as watch:
            assert (await watch.record(60)).revision == revision
    newest = await latest_record(bus, "default", "doc-1")
    assert newest is not None
    assert newest.revision == 3
    assert await latest_record(bus, "default", "doc-1", revision=4) is None


@pytest.mark.parametrize("beyond", [1, -20])
async def test_what_is_too_large_is_refused_and_the_connection_lives(bus: Bus, beyond: int) -> None:
    # The headers count too: with them the second one is too large for the server, though not for its client.
    data = b"x" * (bus.client.max_payload + beyond)
    with pytest.raises(PermanentError, match="max_payload") as caught:
        await publish(bus, "documents.default.recognized.d", data, message_id="1", stream="DOCUMENTS", extra={})
    assert caught.value.code == "message_too_large"
    await publish_event(bus, make_submitted("doc-1"))


async def test_two_tenants_may_use_one_document_id(bus: Bus) -> None:
    for tenant in ("one", "two"):
        await publish_event(bus, make_submitted("doc-1", tenant=tenant))
    assert (await bus.js.stream_info(DOCUMENTS.name)).state.messages == 2


async def test_what_was_erased_can_be_said_anew_within_the_duplicate_window(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    await bus.js.purge_stream(DOCUMENTS.name, subject="documents.default.*.doc-1")
    await publish_event(bus, make_submitted("doc-1"))
    await publish_event(bus, make_submitted("doc-1", source="again.jpg"))
    found = await latest_event(bus, Submitted, "default", "doc-1")
    assert found is not None
