# pyright: reportUnknownMemberType=false
"""PDFs from strangers: one that would take minutes fails with its reason, what comes after it is read."""

import contextlib
import zlib
from pathlib import Path

import pytest

from billow.bus.connection import Bus
from billow.bus.deadletter_shelf import letters
from billow.bus.guard import guarding
from billow.bus.images import ImageStore
from billow.bus.inference import InferenceClient
from billow.bus.provision import provision
from billow.bus.publish import latest_event, publish_event
from billow.bus.topology import OCR
from billow.schemas.events import Recognized
from billow.services.ocr.handlers import OcrHandler
from billow.services.ocr.reading import Reader
from billow.services.ocr.settings import OcrSettings
from billow.testkit.consuming import consuming, dead_letters, settled, until
from billow.testkit.events import make_submitted
from billow.testkit.plugin import NatsServer

INVOICE = (Path(__file__).parents[3] / "samples" / "invoice.pdf").read_bytes()


def drawing(operators: bytes) -> bytes:
    """A PDF of one page."""
    packed = zlib.compress(operators)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<<>>>>",
        b"<</Filter/FlateDecode/Length %d>>stream\n" % len(packed) + packed + b"\nendstream",
    ]
    numbered = [b"%d 0 obj\n" % number + body + b"\nendobj\n" for number, body in enumerate(objects, 1)]
    return b"%PDF-1.4\n" + b"".join(numbered) + b"trailer<</Root 1 0 R>>\n%%EOF\n"


@pytest.mark.timeout(400)
async def test_a_pdf_that_takes_too_long_fails_and_the_next_one_is_read(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It has so many times its processor time, whatever else this machine does.
    monkeypatch.setattr("billow.vision.pdf_process._PATIENCE", 75)
    slow = drawing(b"0 0 m 600 700 l 300 10 l S\n" * 1_000_000)
    assert len(slow) < 100_000
    settings = OcrSettings(pdf_limit=2)
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        images, inference = ImageStore(bus.client), InferenceClient(bus)
        await images.put("default", "slow/original", slow)
        await images.put("default", "invoice/original", INVOICE)
        async with guarding(bus, OCR, Recognized, inference) as guard:
            with contextlib.closing(Reader(inference, settings)) as reader:
                handler = OcrHandler(bus, images, reader, guard, max_bytes=settings.max_bytes)
                async with consuming(bus, handler.on_submitted):
                    await publish_event(bus, make_submitted("slow"))
                    await publish_event(bus, make_submitted("invoice"))
                    await until(lambda: settled(bus), timeout=250)
        letter = await anext(letters(bus))
        assert (letter.code, letter.document_id, letter.deliveries) == ("pdf_too_complex", "slow", 1)
        assert await dead_letters(bus) == 1
        read = await latest_event(bus, Recognized, "default", "invoice")
        assert read is not None
        assert len(read.lines) > 10
