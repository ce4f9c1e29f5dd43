"""Size and orientation of a picture from its header alone, so that a bomb is refused before it is decoded.

Sources: ITU T.81 annex B (JPEG), the PNG specification (third edition), RFC 9649 (WebP), Exif 2.32 section 4.6.
"""

import re
import struct
from collections.abc import Callable, Iterator

import msgspec

from billow.runtime.errors import PermanentError
from billow.vision.media import MediaType

_ORIENTATION_TAG = 0x0112
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_END = 0xD9
_JPEG_SCAN = 0xDA
_MOST_SCANS = 100
"""Progressive pictures have about ten. Each scan is a pass over all px, and takes 200 bytes to ask for."""
# Within a scan FF 00 is a byte of the picture and D0 to D7 are restarts: neither is the start of a segment.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")


class ImageHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture says of itself."""

    width: int
    """px as stored, before any turn."""
    height: int
    """px as stored."""
    orientation: int = 1
    """EXIF: 1 is upright, 2 to 8 the other seven ways to lay a page on a scanner."""
    alpha: bool = False
    """It may be see-through."""
    complete: bool = True
    """False if the file surely ends too early."""


def damaged() -> PermanentError:
    """The error for a picture that is cut off or broken."""
    return PermanentError(
        "The picture is damaged or incomplete, perhaps by an interrupted upload. Send it again.", code="image_damaged"
    )


def read_header(data: bytes, media_type: MediaType) -> ImageHeader:
    """Read no further than needed; no pixel is decoded.

    Raises:
        PermanentError: `image_damaged`, also for a PDF, which is no picture; `image_too_complex`.
    """
    try:
        header = _READERS[media_type](data) if media_type in _READERS else None
    except (struct.error, IndexError) as e:
        raise damaged() from e
    if header is None or header.width < 1 or header.height < 1:
        raise damaged()
    return header


def _jpeg(data: bytes) -> ImageHeader | None:
    size, orientation, ended = None, 1, False
    position, scans = 2, 0
    while found := _JPEG_MARKER.search(data, position):
        marker = found[1][0]
        if marker == _JPEG_END:
            ended = True
            break
        scans += marker == _JPEG_SCAN
        if scans > _MOST_SCANS:
            raise PermanentError(
                f"The picture is made of more than {_MOST_SCANS} layers, as no camera does. Save it anew, send that.",
                code="image_too_complex",
            )
        (length,) = struct.unpack_from(">H", data, found.end())
        body = found.end() + 2
        if marker in _JPEG_SIZES and size is None:
            height, width = struct.unpack_from(">HH", data, body + 1)
            size = (width, height)
        elif marker == 0xE1 and data[body : body + 6] == b"Exif\0\0":
            orientation = exif_orientation(data[body + 6 : found.end() + length])
        position = found.end() + max(length, 2)
    if size is None:
        return None
    return ImageHeader(width=size[0], height=size[1], orientation=orientation, complete=ended)


def _png(data: bytes) -> ImageHeader | None:
    size, orientation, alpha, ended = None, 1, False, False
    for name, start, length in _png_chunks(data):
        if name == b"IHDR":
            width, height, _, colour = struct.unpack_from(">IIBB", data, start)
            size, alpha = (width, height), colour in (4, 6)
        elif name == b"eXIf":
            orientation = exif_orientation(data[start : start + length])
        elif name == b"IEND":
            ended = True
        if size is None:
            return None
    if size is None:
        return None
    return ImageHeader(width=size[0], height=size[1], orientation=orientation, alpha=alpha, complete=ended)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    position = 8
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        yield name, position + 8, length
        position += 12 + length
        if name == b"IEND":
            return


def _webp(data: bytes) -> ImageHeader | None:
    size, orientation, alpha = None, 1, False
    position = 12
    while position + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, position)
        body = position + 8
        if name == b"VP8X":
            alpha = bool(data[body] & 0x10)
            size = (1 + _uint24(data, body + 4), 1 + _uint24(data, body + 7))
        elif name == b"VP8 " and size is None:
            width, height = struct.unpack_from("<HH", data, body + 6)
            size = (width & 0x3FFF, height & 0x3FFF)
        elif name == b"VP8L" and size is None:
            (bits,) = struct.unpack_from("<I", data, body + 1)
            size, alpha = (1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)), bool(bits >> 28 & 1)
        elif name == b"EXIF":
            orientation = exif_orientation(data[body : body + length].removeprefix(b"Exif\0\0"))
        position = body + length + (length & 1)
    return ImageHeader(width=size[0], height=size[1], orientation=orientation, alpha=alpha) if size else None


def _uint24(data: bytes, position: int) -> int:
    return data[position] | data[position + 1] << 8 | data[position + 2] << 16


def _bmp(data: bytes) -> ImageHeader | None:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return ImageHeader(width=width, height=abs(height))


_READERS: dict[MediaType, Callable[[bytes], ImageHeader | None]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/webp": _webp,
    "image/bmp": _bmp,
}


def exif_orientation(block: bytes) -> int:
    """The orientation, 1 to 8, that a TIFF block states for the main picture; 1 where it says nothing usable."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", block, 4)
        (entries,) = struct.unpack_from(f"{order}H", block, directory)
        for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", block, entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
