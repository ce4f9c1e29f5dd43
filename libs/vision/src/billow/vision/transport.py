"""How pages and crops travel to the workers: encoded, and no larger than the models can use."""

from collections.abc import Callable
from typing import Literal

import cv2
import msgspec

from billow.runtime.errors import PermanentError
from billow.vision.arrays import Image, as_image
from billow.vision.headers import damaged, read_header
from billow.vision.media import Limits, check_pixels, check_size, sniff
from billow.vision.pages import PageImage
from billow.vision.raster import decode_pixels

DETECTION_SIDE = 2016
"""px; a detector looks at no more than this of a page's long side."""
PASSED_ON_BYTES = 1024 * 1024
"""An original of at most so many bytes, and not too many px, is passed on rather than encoded again."""


Format = Literal["jpeg", "webp", "png"]


class Encoding(msgspec.Struct, frozen=True, kw_only=True):
    """In which bytes a picture travels; every worker reads all of them."""

    format: Format = "jpeg"
    quality: int = 90
    """1..100; without meaning for `png`, which loses nothing."""


PAGE = Encoding()
CROP = Encoding(quality=95)
"""JPEG rather than PNG: half the bytes and a tenth of the time, for less than 0.001 of word F1."""


def detection_payload(
    page: PageImage, long_side: int = DETECTION_SIDE, encoding: Encoding = PAGE
) -> tuple[bytes, float]:
    """The page for a detector: the original if it is small enough, else shrunk to `long_side` and encoded anew.

    Returns:
        The bytes, and the factor that brings px of their pixels back to px of the page.
    """
    small = max(page.page.width, page.page.height) <= long_side
    if small and page.encoded is not None and len(page.encoded) <= PASSED_ON_BYTES:
        return page.encoded, 1.0
    image, factor = shrink(page.image, long_side)
    return encode(image, encoding), factor


def shrink(image: Image, long_side: int) -> tuple[Image, float]:
    """Make the long side at most `long_side` px.

    Returns:
        The image, itself if it is small enough, and the factor (1.0 or more) back to the given one.
    """
    height, width = image.shape[:2]
    factor = max(width, height) / long_side
    if factor <= 1.0:
        return image, 1.0
    size = (max(round(width / factor), 1), max(round(height / factor), 1))
    return as_image(cv2.resize(image, size, interpolation=cv2.INTER_AREA)), factor


def encode(image: Image, encoding: Encoding) -> bytes:
    """The bytes in which a page or a line travels.

    Raises:
        PermanentError: `image_damaged`, it cannot be encoded.
    """
    match encoding.format:
        case "jpeg":
            suffix, options = ".jpg", [cv2.IMWRITE_JPEG_QUALITY, encoding.quality]
        case "webp":
            suffix, options = ".webp", [cv2.IMWRITE_WEBP_QUALITY, encoding.quality]
        case "png":
            suffix, options = ".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]
    ok, data = cv2.imencode(suffix, image, options)
    if not ok:
        raise PermanentError("The page could not be encoded for the models.", code="image_damaged")
    return data.tobytes()


def decode_payload(
    data: bytes, limits: Limits, reduction: Callable[[int, int], int] | None = None
) -> tuple[Image, tuple[int, int]]:
    """What a worker sees of a page or crop: the stored pixels, EXIF not applied.

    Args:
        data: As encoded by the sender.
        limits: Bytes and pixels to accept.
        reduction: Told width and height, says by how much (1, 2, 4 or 8) to decode smaller.

    Returns:
        The image, and its full width and height.

    Raises:
        PermanentError: not a picture, or too large; the codes of `open_document`.
    """
    check_size(data, limits)
    header = read_header(data, sniff(data))
    check_pixels(header.width, header.height, limits)
    if not header.complete:
        raise damaged()
    size = (header.width, header.height)
    return decode_pixels(data, reduction(*size) if reduction else 1), size
