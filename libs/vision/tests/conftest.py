"""Files made by hand: PDFs and PNGs, written byte by byte so that each test says what is in them."""

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

import cv2
import numpy as np
import pytest

from billow.vision.arrays import Image, as_image


class MakePdf(Protocol):
    def __call__(
        self,
        contents: Sequence[str],
        *,
        media_box: str = "0 0 612 792",
        extra: str = "",
        trailer: str = "",
        picture: Image | None = None,
        stamp: str = "",
    ) -> bytes: ...


MakePng = Callable[..., bytes]


def _stream(dictionary: str, data: bytes) -> bytes:
    return f"<< {dictionary} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"


def _write(objects: Sequence[bytes], trailer: str) -> bytes:
    data = b"%PDF-1.7\n"
    offsets: list[int] = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{len(data)}\n%%EOF\n"
    return data + end.encode()


_FONT = "/Resources << /Font << /F1 3 0 R >> >>"


@pytest.fixture
def make_pdf() -> MakePdf:
    """Pages of content operators. Font `/F1` is Helvetica, `/Im0` the picture, object 5 a 200 x 20 form (`stamp`)."""

    def make(
        contents: Sequence[str],
        *,
        media_box: str = "0 0 612 792",
        extra: str = "",
        trailer: str = "",
        picture: Image | None = None,
        stamp: str = "",
    ) -> bytes:
        first = 6
        kids = " ".join(f"{first + 2 * i} 0 R" for i in range(len(contents)))
        pixels = picture if picture is not None else np.full((1, 1, 3), 255, np.uint8)
        height, width = pixels.shape[:2]
        form = f"/Type /XObject /Subtype /Image /Width {width} /Height {height} /ColorSpace /DeviceRGB"
        objects = [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>".encode(),
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            _stream(f"{form} /BitsPerComponent 8", pixels[:, :, ::-1].tobytes()),
            _stream(f"/Type /XObject /Subtype /Form /BBox [0 0 200 20] {_FONT}", stamp.encode("latin-1")),
        ]
        resources = "/Resources << /Font << /F1 3 0 R >> /XObject << /Im0 4 0 R >> >>"
        for i, content in enumerate(contents):
            page = f"/Type /Page /Parent 2 0 R /MediaBox [{media_box}] /Contents {first + 2 * i + 1} 0 R"
            objects.append(f"<< {page} {resources} {extra} >>".encode())
            objects.append(_stream("", content.encode("latin-1")))
        return _write(objects, trailer)

    return make


@pytest.fixture
def make_png() -> MakePng:
    """A PNG from raw rows: (width, height, bit depth, colour type, rows with filter bytes, more chunks)."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    def make(
        width: int, height: int, depth: int, colour: int, rows: bytes, more: Sequence[tuple[bytes, bytes]] = ()
    ) -> bytes:
        packer = zlib.compressobj(1)
        body = packer.compress(rows) if rows else b"".join(packer.compress(_ZEROS) for _ in range(height))
        chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), *more]
        chunks += [(b"IDAT", body + packer.flush()), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)

    return make


_ZEROS = bytes(1 + 30_000 // 8)
"""One row of a black-and-white picture 30,000 px wide."""


@pytest.fixture
def photo() -> Image:
    """200 x 120 px, its four quarters of four colours: every turn and mirror of it looks different."""
    image = np.zeros((120, 200, 3), np.uint8)
    image[:60, :100], image[:60, 100:] = (255, 0, 0), (0, 255, 0)
    image[60:, :100], image[60:, 100:] = (0, 0, 255), (200, 200, 200)
    return as_image(image)


@pytest.fixture
def encode() -> Callable[[str, Image], bytes]:
    """Encode by suffix, e.g. `.jpg`."""

    def to_bytes(suffix: str, image: Image) -> bytes:
        return cv2.imencode(suffix, image)[1].tobytes()

    return to_bytes
