"""Bytes on the wire."""

import msgspec
import pytest

from billow.schemas import codec
from billow.schemas.events import DocumentEvent, Submitted
from billow.schemas.inference import DetectText, InferenceWork
from billow.testkit.events import MOMENT, make_submitted


@pytest.mark.parametrize("content_type", [codec.JSON, codec.MSGPACK])
@pytest.mark.parametrize("header", [True, False])
def test_both_formats_come_back_equal_with_and_without_a_header(content_type: codec.ContentType, header: bool) -> None:
    event = make_submitted()
    data = codec.encode(event, content_type)
    assert codec.decode(data, Submitted, content_type if header else None) == event


def test_bytes_of_an_image_survive_messagepack() -> None:
    work = InferenceWork(
        request_id="r",
        tenant="default",
        document_id="doc-1",
        model="m_1-0-0",
        lane="interactive",
        payload=DetectText(image=b"\x00\xff\x89PNG"),
        sent_at=MOMENT,
    )
    assert codec.decode(codec.encode(work, codec.MSGPACK), InferenceWork, codec.MSGPACK) == work


@pytest.mark.parametrize("header", ["application/json; charset=utf-8", "TEXT/JSON", "application/json"])
def test_aliases_of_json_are_known(header: str) -> None:
    assert codec.decode(codec.encode(make_submitted()), Submitted, header) == make_submitted()


@pytest.mark.parametrize(
    ("data", "header", "says"),
    [
        (b"", None, "application/json"),
        (b"not json", "application/json", "application/json"),
        (b"{}", "application/json", "tag|type"),
        (b"{}", "image/png", "neither"),
        (b"\xc1", None, "msgpack"),
        (b'{"type":"document.eaten.v1"}', None, "eaten"),
        (b"\xff\xfe{", "application/json", "application/json"),
    ],
)
def test_what_is_wrong_is_said(data: bytes, header: str | None, says: str) -> None:
    with pytest.raises(codec.CodecError, match=says):
        codec.decode(data, DocumentEvent, header)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant": "Ünser"},
        {"document_id": "a.b"},
        {"document_id": "x" * 65},
        {"document_id": "x\n"},
        {"revision": 0},
        {"occurred_at": "2026-03-14T12:30:00"},
        {"event_id": ""},
        {"lane": "express"},
    ],
)
def test_values_out_of_bounds_are_refused(changes: dict[str, object]) -> None:
    row = msgspec.to_builtins(make_submitted()) | changes
    with pytest.raises(codec.CodecError):
        codec.decode(msgspec.json.encode(row), Submitted)
