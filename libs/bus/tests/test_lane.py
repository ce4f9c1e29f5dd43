"""The lane of an event, read without the rest."""

import pytest

from billow.bus.headers import CONTENT_TYPE
from billow.bus.lane import origin_lane, submitted_lane
from billow.schemas import codec
from billow.schemas.codec import ContentType
from billow.schemas.events import Origin
from billow.schemas.labels import Lane
from billow.testkit.events import MOMENT, make_analyzed, make_recognized, make_submitted


@pytest.mark.parametrize("lane", ["interactive", "bulk"])
@pytest.mark.parametrize("content_type", [codec.JSON, codec.MSGPACK])
def test_the_lane_is_that_of_the_submission(lane: Lane, content_type: ContentType) -> None:
    origin = Origin(source="a.jpg", submitted_at=MOMENT, lane=lane)
    fields = {CONTENT_TYPE: content_type}
    assert submitted_lane(codec.encode(make_submitted(lane=lane), content_type), fields) == lane
    assert origin_lane(codec.encode(make_recognized(origin=origin), content_type), {}) == lane
    assert origin_lane(codec.encode(make_analyzed(origin=origin), content_type), fields) == lane


@pytest.mark.parametrize("data", [b"", b"{", b"{}", b'{"lane": "slow"}', b'{"origin": 1}', b"\xc1", b"[]"])
def test_what_cannot_be_read_is_interactive(data: bytes) -> None:
    assert submitted_lane(data, {}) == "interactive"
    assert origin_lane(data, {CONTENT_TYPE: "text/plain"}) == "interactive"
