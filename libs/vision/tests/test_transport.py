"""What travels to a worker is small, and what a worker decodes is bounded."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from billow.runtime.errors import PermanentError
from billow.schemas.geometry import Page
from billow.vision.arrays import Image, as_image
from billow.vision.document import open_document
from billow.vision.geometry import scaled
from billow.vision.media import Limits
from billow.vision.pages import PageImage
from billow.vision.raster import decode_pixels
from billow.vision.transport import CROP, Encoding, Format, decode_payload, detection_payload, encode

Encode = Callable[[str, Image], bytes]


def smooth(width: int, height: int) -> Image:
    noise = np.random.default_rng(1).integers(0, 255, (height // 20 + 1, width // 20 + 1, 3), np.uint8)
    return as_image(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))


def test_a_small_original_is_passed_on(photo: Image, encode: Encode) -> None:
    data = encode(".jpg", photo)
    with open_document(data) as document:
        sent, factor = detection_payload(document.page(0))
    assert sent is data
    assert factor == 1.0


def test_a_large_page_is_shrunk_and_its_quads_lead_back() -> None:
    image = smooth(3000, 4000)
    sent, factor = detection_payload(PageImage(Page(width=3000, height=4000), image=image), long_side=1000)
    received = decode_pixels(sent)
    assert received.shape == (1000, 750, 3)
    assert scaled((0, 0, 750, 0, 750, 1000, 0, 1000), factor) == (0, 0, 3000, 0, 3000, 4000, 0, 4000)


def test_a_page_that_was_turned_is_encoded_anew() -> None:
    image = smooth(300, 400)
    sent, factor = detection_payload(PageImage(Page(width=300, height=400, rotation=90), image=image))
    received, size = decode_payload(sent, Limits())
    assert factor == 1.0
    assert size == (300, 400)
    assert np.abs(received.astype(int) - image).mean() < 3


def test_a_heavy_original_is_not_passed_on() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (800, 800, 3), np.uint8)
    data = cv2.imencode(".png", noise)[1].tobytes()
    with open_document(data) as document:
        sent, _ = detection_payload(document.page(0))
    assert len(data) > 1024 * 1024 > len(sent)


def test_crops_survive_the_way() -> None:
    cut = smooth(227, 31)
    received, _ = decode_payload(encode(cut, CROP), Limits())
    assert np.abs(received.astype(int) - cut).mean() < 3


def test_quality_trades_size(photo: Image) -> None:
    noisy = smooth(400, 400)
    assert len(encode(noisy, Encoding(quality=50))) < len(encode(noisy, Encoding(quality=95)))


@pytest.mark.parametrize(("format_", "off"), [("jpeg", 3.0), ("webp", 3.0), ("png", 0.0)])
def test_every_format_survives_the_way(format_: Format, off: float) -> None:
    cut = smooth(227, 31)
    data = encode(cut, Encoding(format=format_, quality=95))
    received, _ = decode_payload(data, Limits())
    assert np.abs(received.astype(int) - cut).mean() <= off


def test_a_worker_decodes_no_more_than_it_needs(encode: Encode) -> None:
    image, size = decode_payload(encode(".jpg", smooth(801, 400)), Limits(), lambda width, height: 4)
    assert size == (801, 400)
    assert image.shape == (100, 201, 3)


@pytest.mark.parametrize("data", [b"", b"text", b"%PDF-1.7\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PermanentError):
        decode_payload(data, Limits())


def test_the_workers_own_limits_hold(photo: Image, encode: Encode) -> None:
    with pytest.raises(PermanentError, match="200 x 120"):
        decode_payload(encode(".png", photo), Limits(max_pixels=1000))
