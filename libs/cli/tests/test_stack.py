# pyright: reportUnknownMemberType=false
"""Documents through the whole system, good ones and bad ones. Nothing is mocked."""

import asyncio
import json
import struct
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import nats
import numpy as np
import pytest

from billow.bus.images import ImageStore
from billow.cli.stack.stack import Stack
from billow.client import Billow
from billow.runtime.errors import PermanentError
from billow.schemas import codec
from billow.schemas.record import Record
from billow.services.receipt.store import Store
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted
from samples.receipts import render_receipt
from samples.truth import Truth

pytestmark = [pytest.mark.component, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

PATIENCE = 120


def png(image: cv2.typing.MatLike) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def bomb(side: int = 30_000) -> bytes:
    """A true PNG of `side` x `side` px that is small as a file."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(9)
    row = b"\0" * (side // 8 + 2)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def extract(billow: Billow, data: bytes, source: str = "x") -> Record:
    return await billow.extract(data, source=source, timeout=PATIENCE)


def error_code(record: Record) -> str:
    assert record.status == "failed"
    assert record.error is not None
    assert record.fields == {}
    assert len(record.error.message) > 20
    return record.error.code


async def test_the_sample_receipt_comes_out_as_it_was_printed(billow: Billow, root: Path) -> None:
    record = await extract(billow, (root / "samples/receipt-cafe.jpg").read_bytes(), "receipt-cafe.jpg")
    truth = truth_of(root, "receipt-cafe")
    assert record.status == "completed"
    assert record.kind == "receipt"
    values = {name: field.value for name, field in record.fields.items()}
    assert values["store_name"] == truth["fields"]["store_name"]
    assert values["date"] == truth["fields"]["date"]
    assert values["total"] == truth["fields"]["total"]
    assert [item.name for item in record.items] == [item["name"] for item in truth["items"]]
    assert [item.amount for item in record.items] == [item["amount"] for item in truth["items"]]
    assert record.models == {
        "text-detection": "ppocr-v6-det-small_1-0-0",
        "text-recognition": "ppocr-v6-rec-small_1-0-0",
        "token-classification": "rules_1-0-0",
    }


async def test_a_quad_stands_where_the_text_is(billow: Billow, root: Path) -> None:
    record = await extract(billow, (root / "samples/receipt-cafe.jpg").read_bytes())
    page = record.pages[0]
    (region,) = record.fields["total"].regions
    xs, ys = region.quad[0::2], region.quad[1::2]
    assert 0 <= min(xs) < max(xs) <= page.width
    assert 0.5 * page.height < min(ys) < max(ys) < 0.85 * page.height


async def test_the_time_of_each_stage_is_told(billow: Billow, root: Path) -> None:
    record = await extract(billow, (root / "samples/receipt-cafe.jpg").read_bytes())
    ms = record.timings_ms
    for stage in ("queue", "fetch", "decode", "text-detection", "text-recognition", "token-classification", "total"):
        assert ms[stage] >= 0, stage
    assert 0 < ms["engines"] <= ms["total"]


async def test_a_pdf_with_text_needs_no_ocr(billow: Billow, root: Path) -> None:
    record = await extract(billow, (root / "samples/invoice.pdf").read_bytes(), "invoice.pdf")
    truth = truth_of(root, "invoice")
    assert record.status == "completed"
    assert record.kind == "invoice"
    assert "text-detection" not in record.models
    assert record.pages[0].dpi is not None
    assert record.fields["total"].value == truth["fields"]["total"]
    assert record.fields["invoice_number"].value == truth["fields"]["invoice_number"]


async def test_an_exif_turn_is_undone(billow: Billow) -> None:
    upright = cv2.imdecode(np.frombuffer(render_receipt(3)[0], np.uint8), cv2.IMREAD_COLOR)
    assert upright is not None
    lying = cv2.imencode(".jpg", cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    turned = lying[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + lying[2:]
    record = await extract(billow, turned)
    assert (record.pages[0].width, record.pages[0].height) == (upright.shape[1], upright.shape[0])
    assert record.pages[0].rotation == 90
    straight = await extract(billow, png(upright))
    assert record.fields["total"].value == straight.fields["total"].value


async def test_a_blank_page_completes_with_no_fields(billow: Billow) -> None:
    record = await extract(billow, png(np.full((400, 300, 3), 255, np.uint8)))
    assert (record.status, record.fields, record.items) == ("completed", {}, ())
    assert not record.straight_through


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("empty file", b"", "empty_file"),
        ("text renamed .jpg", b"Dear Sir or Madam, this is no picture.\n" * 40, "unsupported_media_type"),
        ("PNG bomb", bomb(), "image_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
async def test_bad_files_fail_with_a_reason(billow: Billow, name: str, data: bytes, code: str) -> None:
    assert error_code(await extract(billow, data, name)) == code


async def test_a_60_mb_file_is_refused_before_it_is_sent(billow: Billow) -> None:
    with pytest.raises(PermanentError, match=r"62,914,560 bytes.*BILLOW_MAX_BYTES") as caught:
        await billow.submit(bytes(60 * 1024 * 1024))
    assert caught.value.code == "file_too_large"


async def test_a_60_mb_file_put_there_by_another_client_fails_unread(billow: Billow, stack: Stack) -> None:
    event = make_submitted("large")
    async with await nats.connect(stack.url) as client:
        js = client.jetstream()
        await ImageStore(client).put("default", event.image.key, b"\xff\xd8\xff" + bytes(60 * 1024 * 1024))
        await js.publish("documents.default.submitted.large", codec.encode(event))
    assert error_code(await billow.result("large", timeout=PATIENCE)) == "file_too_large"


async def test_a_truncated_jpeg_fails_with_a_reason(billow: Billow, root: Path) -> None:
    whole = (root / "samples/receipt-cafe.jpg").read_bytes()
    assert error_code(await extract(billow, whole[: len(whole) // 2])) == "image_damaged"


async def test_a_failed_document_is_among_the_dead_letters_and_in_the_database(billow: Billow, stack: Stack) -> None:
    document = await billow.submit(b"nothing of the kind", source="x.jpg")
    record = await billow.result(document, timeout=PATIENCE)
    store = Store.create(stack.database_url)
    try:
        assert await store.get("default", document) == record
    finally:
        await store.close()
    async with await nats.connect(stack.url) as client:
        js = client.jetstream()
        letter = await js.get_last_msg("DEADLETTERS", "deadletters.default.ocr.submitted")
    assert json.loads(letter.data or b"")["document_id"] == document
    assert (letter.headers or {})["Billow-Dead-Code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"this is not JSON", "undecodable_event"),
        (b'{"type":"document.eaten.v1","tenant":"default"}', "undecodable_event"),
        (b'{"type":"document.submitted.v1","tenant":"default"}', "undecodable_event"),
    ],
    ids=["not JSON", "unknown tag", "fields missing"],
)
async def test_an_unreadable_event_fails_the_document_of_its_subject(
    billow: Billow, stack: Stack, payload: bytes, code: str
) -> None:
    document = f"strange-{abs(hash(payload)):x}"
    async with await nats.connect(stack.url) as client:
        await client.jetstream().publish(f"documents.default.submitted.{document}", payload)
        record = await billow.result(document, timeout=PATIENCE)
    assert error_code(record) == code
    assert record.error is not None
    assert record.error.stage == "ocr"


async def test_an_event_that_names_no_image_fails_its_document(billow: Billow, stack: Stack) -> None:
    event = {
        "type": "document.submitted.v1",
        "tenant": "default",
        "document_id": "no-image",
        "event_id": "no-image-1",
        "occurred_at": datetime.now(UTC).isoformat(),
        "image": {"key": "nowhere/original"},
    }
    async with await nats.connect(stack.url) as client:
        js = client.jetstream()
        await js.publish("documents.default.submitted.no-image", json.dumps(event).encode())
    record = await billow.result("no-image", timeout=PATIENCE)
    assert error_code(record) == "image_missing"


async def test_a_passed_deadline_fails_without_model_time(billow: Billow) -> None:
    document = await billow.submit(render_receipt(1)[0], deadline=datetime.now(UTC) - timedelta(minutes=1))
    record = await billow.result(document, timeout=PATIENCE)
    assert error_code(record) == "deadline_exceeded"
    assert "text-detection" not in record.timings_ms


async def test_submitting_the_same_id_again_is_one_document(billow: Billow, stack: Stack) -> None:
    data = render_receipt(2)[0]
    first = await billow.submit(data, document_id="same-id")
    record = await billow.result(first, timeout=PATIENCE)
    assert await billow.submit(data, document_id="same-id") == first
    assert await billow.result(first, timeout=PATIENCE) == record
    assert await events(stack, "submitted", "same-id") == 1


async def test_a_new_revision_is_worked_on_anew(billow: Billow) -> None:
    name = await billow.submit(render_receipt(5)[0], document_id="twice")
    one = await billow.result(name, timeout=PATIENCE)
    await billow.submit(render_receipt(6)[0], document_id="twice", revision=2)
    two = await billow.result(name, revision=2, timeout=PATIENCE)
    assert (one.revision, two.revision) == (1, 2)
    assert one.fields["total"].value != two.fields["total"].value

    async def is_the_newest() -> bool:
        return await billow.get(name) == two

    # Who waits hears of a record a moment before the stream has it.
    await until(is_the_newest, timeout=PATIENCE)


async def test_many_documents_at_once_each_get_their_own_record(billow: Billow) -> None:
    made = [render_receipt(seed) for seed in range(20, 28)]
    records = await asyncio.gather(*(extract(billow, data, str(n)) for n, (data, _) in enumerate(made)))
    assert [record.source for record in records] == [str(n) for n in range(8)]
    assert len({record.document_id for record in records}) == 8
    right = [
        record.fields["total"].value == truth["fields"]["total"]
        for record, (_, truth) in zip(records, made, strict=True)
        if "total" in record.fields
    ]
    assert sum(right) >= 7


def truth_of(root: Path, name: str) -> Truth:
    rows: list[Truth] = [json.loads(line) for line in (root / "samples/truth.jsonl").read_text().splitlines()]
    return next(row for row in rows if row["id"] == name)


async def events(stack: Stack, event: str, document: str) -> int:
    async with await nats.connect(stack.url) as client:
        js = client.jetstream()
        info = await js.stream_info("DOCUMENTS", subjects_filter=f"documents.default.{event}.{document}")
    return sum((info.state.subjects or {}).values())
