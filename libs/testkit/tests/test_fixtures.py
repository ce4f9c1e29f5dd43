"""What other members' tests rely on."""

import nats
import numpy as np
import pytest

from billow.schemas.codec import JSON, MSGPACK, ContentType, decode, encode
from billow.schemas.events import DocumentEvent
from billow.schemas.labels import FIELD_NAMES, WORD_LABELS
from billow.schemas.record import Record
from billow.testkit.engines import FakeEngine, Tensors
from billow.testkit.events import (
    make_analyzed,
    make_completed,
    make_failed,
    make_recognized,
    make_record,
    make_submitted,
)
from billow.testkit.plugin import ExternalServer, NatsServer


async def test_server_comes_empty_and_can_be_wiped(nats_server: NatsServer) -> None:
    other = ExternalServer(nats_server.url)
    assert await other.streams() == []
    async with await nats.connect(nats_server.url) as client:  # pyright: ignore[reportUnknownMemberType]
        js = client.jetstream()  # pyright: ignore[reportUnknownMemberType]
        await js.add_stream(name="LEFT", subjects=["left"])  # pyright: ignore[reportUnknownMemberType]
    assert await other.streams() == ["LEFT"]
    await other.wipe()
    assert await other.streams() == []


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
@pytest.mark.parametrize(
    "event",
    [make_submitted("d-7"), make_recognized("d-7"), make_analyzed("d-7"), make_completed("d-7"), make_failed("d-7")],
    ids=lambda event: type(event).__name__,
)
def test_events_pass_validation(event: DocumentEvent, content_type: ContentType) -> None:
    back = decode(encode(event, content_type), type(event), content_type)
    assert back == event
    assert back.document_id == "d-7"


def test_ids_follow_what_they_identify() -> None:
    assert make_submitted("a").event_id != make_submitted("b").event_id
    assert make_submitted("a").event_id == make_submitted("a", source="other.png").event_id
    assert make_submitted("a", revision=2).event_id != make_submitted("a").event_id
    assert make_submitted("a").image.key == "a/original"
    assert make_failed("a", tenant="t").record.tenant == "t"


def test_changes_are_applied() -> None:
    record = make_record(status="cancelled", fields={})
    assert (record.status, record.fields) == ("cancelled", {})
    assert decode(encode(record), Record) == record


def test_labels_are_real_ones() -> None:
    analyzed = make_analyzed()
    groups = (*analyzed.items, *analyzed.taxes)
    labels = [e.label for e in analyzed.entities] + [e.label for group in groups for e in group.entities]
    assert set(labels) <= set(WORD_LABELS)
    assert set(make_record().fields) <= set(FIELD_NAMES)


def test_fake_engine_answers_alike_and_remembers() -> None:
    def double(inputs: Tensors) -> Tensors:
        return {"y": inputs["x"] * 2}

    engine = FakeEngine(double)
    first = engine.run({"x": np.arange(3)})
    assert first["y"].tolist() == [0, 2, 4] == engine.run({"x": np.arange(3)})["y"].tolist()
    assert len(engine.seen) == 2
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.run({"x": np.arange(3)})
