"""Every kind of bad file is refused with its own code and a message that helps, before it costs anything."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from billow.runtime.errors import PermanentError
from billow.vision.arrays import Image
from billow.vision.document import open_document
from billow.vision.media import Limits, check_pixels

Encode = Callable[[str, Image], bytes]


def refused(data: bytes, limits: Limits | None = None) -> PermanentError:
    with pytest.raises(PermanentError) as caught, open_document(data, limits) as document:
        for page in document:
            _ = page.image
    assert caught.value.retryable is False
    return caught.value


def test_an_empty_file() -> None:
    assert refused(b"").code == "empty_file"


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"Dear sirs, please find attached\n", "neither a picture nor a PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"GIF89a" + bytes(20), "GIF"),
        (b"II*\0" + bytes(20), "TIFF"),
        (b"PK\x03\x04" + bytes(20), "office document"),
    ],
)
def test_a_file_of_another_kind_is_named_for_what_it_is(data: bytes, hint: str) -> None:
    error = refused(data)
    assert error.code == "unsupported_media_type"
    assert hint in str(error)
    assert "JPEG, PNG, WebP" in str(error)


def test_60_megabytes() -> None:
    error = refused(b"\xff\xd8\xff" + bytes(60_000_000))
    assert error.code == "file_too_large"
    assert "60.0 MB" in str(error)


def test_a_jpeg_of_thousands_of_layers_is_refused(photo: Image) -> None:
    data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    with open_document(data) as document:
        assert document.page(0).image.shape == photo.shape
    # The last one again and again, with the table before it.
    scan = data[data.rfind(b"\xff\xc4") : -2]
    assert refused(data[:-2] + scan * 1_000 + data[-2:]).code == "image_too_complex"


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", fail)


@pytest.mark.usefixtures("no_decoding")
def test_a_png_bomb_is_refused_without_decoding(make_png: Callable[..., bytes]) -> None:
    bomb = make_png(30_000, 30_000, 1, 0, b"")
    assert len(bomb) < 1_000_000
    error = refused(bomb)
    assert error.code == "image_too_large"
    assert "30000 x 30000" in str(error)


@pytest.mark.usefixtures("no_decoding")
def test_a_bomb_is_told_from_its_header_even_when_cut_off(make_png: Callable[..., bytes]) -> None:
    assert refused(make_png(30_000, 30_000, 1, 0, bytes(1))[:60]).code == "image_too_large"


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_the_pixel_limit_holds_for_every_format(suffix: str, photo: Image, encode: Encode) -> None:
    assert refused(encode(suffix, photo), Limits(max_pixels=200 * 120 - 1)).code == "image_too_large"
    assert refused(encode(suffix, photo), Limits(max_side=199)).code == "image_too_large"


def test_a_photo_of_60_million_pixels_is_no_bomb() -> None:
    check_pixels(6708, 8944, Limits())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_picture_that_is_cut_off(suffix: str, kept: float, encode: Encode) -> None:
    noise = np.random.default_rng(7).integers(0, 255, (150, 150, 3), np.uint8)
    data = encode(suffix, noise)
    error = refused(data[: int(len(data) * kept)])
    assert error.code == "image_damaged"
    assert "again" in str(error)


def test_a_jpeg_whose_end_was_never_written(encode: Encode) -> None:
    noise = np.random.default_rng(7).integers(0, 255, (150, 150, 3), np.uint8)
    data = encode(".jpg", noise)
    half = data[: len(data) // 2]
    assert refused(half + bytes(len(data) - len(half))).code == "image_damaged"


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_header_alone(suffix: str, photo: Image, encode: Encode) -> None:
    assert refused(encode(suffix, photo)[:14]).code == "image_damaged"


def test_a_pdf_that_is_no_pdf() -> None:
    assert refused(b"%PDF-1.7\nnothing more").code == "pdf_damaged"


def test_a_pdf_with_too_many_pages(make_pdf: Callable[..., bytes]) -> None:
    error = refused(make_pdf([""] * 4), Limits(max_pages=3))
    assert error.code == "too_many_pages"
    assert "4 pages" in str(error)


def test_a_pdf_with_a_password(make_pdf: Callable[..., bytes]) -> None:
    secret = "0" * 64
    lock = f"/Filter /Standard /V 2 /R 3 /Length 128 /P -4 /O <{secret}> /U <{secret}>"
    error = refused(make_pdf([""], trailer=f"/Encrypt << {lock} >> /ID [<00> <00>]"))
    assert error.code == "pdf_encrypted"
    assert "password" in str(error)
