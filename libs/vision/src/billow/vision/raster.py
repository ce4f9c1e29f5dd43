"""Pictures become upright BGR pixels, and pixels become bytes again."""

from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from billow.vision.arrays import Image, as_image
from billow.vision.headers import ImageHeader, damaged

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_ROWS = 256
"""Rows that are blended at a time, to keep the extra memory small."""

_TURNS: dict[int, tuple[bool, int]] = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 180),
    4: (True, 180),
    5: (True, 270),
    6: (False, 90),
    7: (True, 90),
    8: (False, 270),
}
"""EXIF orientation -> mirror left and right first?, then turn clockwise by so many degrees."""

_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Raster(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded picture."""

    image: Image
    rotation: int
    """Degrees clockwise by which the stored pixels were turned."""
    as_stored: bool
    """`decode_pixels` of the same bytes gives exactly `image`."""


def decode(data: bytes, header: ImageHeader) -> Raster:
    """Decode, lay on white paper, and turn upright as EXIF says.

    Raises:
        PermanentError: `image_damaged`.
    """
    image, as_stored = _decode_alpha(data) if header.alpha else (decode_pixels(data), True)
    if image.shape[:2] != (header.height, header.width):
        raise damaged()
    mirrored, rotation = _TURNS[header.orientation]
    if mirrored:
        image = as_image(cv2.flip(image, 1))
    if rotation:
        image = as_image(cv2.rotate(image, _ROTATIONS[rotation]))
    return Raster(image=image, rotation=rotation, as_stored=as_stored and header.orientation == 1)


def decode_pixels(data: bytes, reduction: int = 1) -> Image:
    """The stored pixels as BGR, whatever EXIF says and without regard to transparency.

    Args:
        data: An encoded picture.
        reduction: 1, 2, 4 or 8: decode to a size so many times smaller (rounded up), which for JPEG saves time.

    Raises:
        PermanentError: `image_damaged`.
    """
    return as_image(_imdecode(data, _REDUCED[reduction] | cv2.IMREAD_IGNORE_ORIENTATION))


def _imdecode(data: bytes, flags: int) -> NDArray[Any]:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as e:
        raise damaged() from e
    # The stubs do not know that OpenCV answers None to what it cannot decode.
    if pixels is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise damaged()
    return np.asarray(pixels)


def _decode_alpha(data: bytes) -> tuple[Image, bool]:
    """BGR on white, and whether every pixel was opaque anyway."""
    pixels = _imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 3 or pixels.shape[2] != 4:
        return decode_pixels(data), True
    if pixels.dtype == np.uint16:
        pixels = as_image(pixels >> 8)
    if pixels[:, :, 3].min() == 255:
        return as_image(pixels[:, :, :3]), True
    image = np.empty((*pixels.shape[:2], 3), np.uint8)
    for row in range(0, len(pixels), _ROWS):
        part = pixels[row : row + _ROWS].astype(np.uint16)
        alpha = part[:, :, 3:]
        image[row : row + _ROWS] = (part[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return image, False
