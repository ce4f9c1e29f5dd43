"""Whatever a picture is stored as, its page is upright BGR on white."""

import struct
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from billow.vision.arrays import Image, as_image
from billow.vision.document import open_document
from billow.vision.pages import PageImage
from billow.vision.raster import decode_pixels

Encode = Callable[[str, Image], bytes]

# EXIF orientation -> which side of the upright picture the stored row 0 and column 0 are, and the turn we report.
ORIENTATIONS = [
    (1, "top", "left", 0),
    (2, "top", "right", 0),
    (3, "bottom", "right", 180),
    (4, "bottom", "left", 180),
    (5, "left", "top", 270),
    (6, "right", "top", 90),
    (7, "right", "bottom", 90),
    (8, "left", "bottom", 270),
]


def first_page(data: bytes) -> PageImage:
    with open_document(data) as document:
        assert document.page_count == 1
        return document.page(0)


def as_stored(upright: Image, row0: str, column0: str) -> Image:
    image = upright if row0 in ("top", "bottom") else upright.transpose(1, 0, 2)
    image = image[::-1] if row0 in ("bottom", "right") else image
    return as_image(image[:, ::-1] if column0 in ("bottom", "right") else image)


def exif(orientation: int, order: str) -> bytes:
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def jpeg_with_exif(data: bytes, block: bytes) -> bytes:
    body = b"Exif\0\0" + block
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("orientation", "row0", "column0", "rotation"), ORIENTATIONS)
def test_a_jpeg_is_turned_upright(
    orientation: int, row0: str, column0: str, rotation: int, order: str, photo: Image, encode: Encode
) -> None:
    stored = encode(".jpg", as_stored(photo, row0, column0))
    page = first_page(jpeg_with_exif(stored, exif(orientation, order)))
    assert (page.page.width, page.page.height, page.page.rotation) == (200, 120, rotation)
    assert page.image.shape == (120, 200, 3)
    for y, x in ((20, 20), (20, 180), (100, 20), (100, 180)):
        assert np.abs(page.image[y, x].astype(int) - photo[y, x]).max() < 10
    assert (page.encoded is None) == (orientation != 1)


@pytest.mark.parametrize(("orientation", "row0", "column0", "rotation"), ORIENTATIONS)
def test_a_png_is_turned_upright(
    orientation: int, row0: str, column0: str, rotation: int, photo: Image, make_png: Callable[..., bytes]
) -> None:
    stored = as_stored(photo, row0, column0)
    rows = b"".join(b"\0" + row[:, ::-1].tobytes() for row in stored)
    data = make_png(stored.shape[1], stored.shape[0], 8, 2, rows, [(b"eXIf", exif(orientation, ">"))])
    page = first_page(data)
    assert page.page.rotation == rotation
    assert np.array_equal(page.image, photo)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_an_upright_original_travels_as_it_is(suffix: str, photo: Image, encode: Encode) -> None:
    data = encode(suffix, photo)
    page = first_page(data)
    assert page.encoded is data
    assert np.array_equal(decode_pixels(data), page.image)
    assert page.text_lines is None


def test_rubbish_after_the_end_of_a_jpeg_is_forgiven(photo: Image, encode: Encode) -> None:
    data = encode(".jpg", photo)
    assert np.array_equal(first_page(data + b"\0rubbish" * 1000).image, first_page(data).image)


def test_a_see_through_picture_lies_on_white_paper(encode: Encode) -> None:
    ink = np.zeros((10, 10, 4), np.uint8)
    ink[:5, :, 3] = 255
    ink[5, :, 3] = 51
    page = first_page(encode(".png", as_image(ink)))
    assert page.image[0, 0].tolist() == [0, 0, 0]
    assert page.image[5, 0].tolist() == [204, 204, 204]
    assert page.image[9, 9].tolist() == [255, 255, 255]
    assert page.encoded is None, "its bytes would decode to black on black"


def test_an_opaque_screenshot_travels_as_it_is(photo: Image, encode: Encode) -> None:
    data = encode(".png", as_image(np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])))
    page = first_page(data)
    assert np.array_equal(page.image, photo)
    assert page.encoded is data


def test_a_see_through_webp_lies_on_white_paper(photo: Image) -> None:
    clear = np.dstack([photo, np.zeros(photo.shape[:2], np.uint8)])
    data = cv2.imencode(".webp", clear, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert first_page(data).image.min() == 255


def test_grey_and_16_bits_become_bgr(make_png: Callable[..., bytes]) -> None:
    page = first_page(make_png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 0x1000, 0xFFFF)))
    assert page.image.dtype == np.uint8
    assert page.image.tolist() == [[[16, 16, 16], [255, 255, 255]]]
    see_through = struct.pack(">HHHH", 0x1000, 0x2000, 0x3000, 0xFFFF) + bytes(8)
    page = first_page(make_png(2, 1, 16, 6, b"\0" + see_through))
    assert page.image.tolist() == [[[0x30, 0x20, 0x10], [255, 255, 255]]]


def test_a_palette_becomes_bgr(make_png: Callable[..., bytes]) -> None:
    page = first_page(make_png(2, 1, 8, 3, b"\0\0\1", [(b"PLTE", bytes([255, 0, 0, 0, 255, 0]))]))
    assert page.image.tolist() == [[[0, 0, 255], [0, 255, 0]]]


def test_a_picture_has_one_page_only(photo: Image, encode: Encode) -> None:
    with open_document(encode(".png", photo)) as document, pytest.raises(IndexError):
        document.page(1)
