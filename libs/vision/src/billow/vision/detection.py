"""Text detection around the model: an image becomes its input, its probability map becomes quads.

The model is of the differentiable binarization kind (Liao et al., "Real-time Scene Text Detection with Differentiable
Binarization", 2020): it marks the shrunken kernel of each text line, so what is found has to grow again. The paper
grows by `area * ratio / perimeter` on every side; for the rotated rectangles used here that is exact arithmetic.
"""

import math
from typing import NamedTuple

import cv2
import msgspec
import numpy as np

from billow.vision.arrays import Floats, Image, as_floats, as_image
from billow.vision.geometry import clip, clockwise
from billow.vision.text_height import Look, Region, look

_LONGEST = 4
"""Times `long_side`: no page is enlarged beyond this, however thin it is."""
STRIDE = 32
"""px; the network halves its input five times, so sides are multiples of this."""


class DetectionParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to feed the detector and read its map. The defaults fit PP-OCRv6."""

    input_name: str = "x"
    """Of the model's tensor."""
    short_side: int = 736
    """px; a smaller image is enlarged until its short side has this much."""
    long_side: int = 2016
    """px; a larger image is shrunk to this, unless its short side would then be too small.
    Detection costs time and memory by the pixel."""
    max_pixels: int = 2_400_000
    """px of the network input: long thin receipts are enlarged no further than this."""
    letter_height: float = 14.0
    """px in the network input, 0 for no limit; where letters would be higher than this, the page is shrunk until they
    are not. Word F1 of 16 receipts with letters of 14 / 12 / 10 / 8 / 7 px: 0.002 / 0.004 / 0.008 / 0.011 / 0.016 less
    than without a limit, for 0.45 / 0.33 / 0.23 / 0.16 / 0.11 of the px."""
    most_shrunk: float = 0.5
    """0..1; the page is never shrunk further than this against what the other limits give, for letters may be mistaken
    for something higher, and a page may hold small print too."""
    trim: bool = True
    """Leave out margins of one grey."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Subtracted from each channel (BGR) after scaling to 0..1."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """Divides each channel after that."""
    pixel_threshold: float = 0.3
    """0..1; more than this is text."""
    box_threshold: float = 0.5
    """0..1; mean probability that a box must reach inside."""
    unclip_ratio: float = 1.6
    """How far boxes grow; see the module."""
    dilate: bool = True
    """Join marks that are one px apart."""
    min_side: float = 3.0
    """px of the map; smaller marks are specks."""
    max_boxes: int = 1000
    """The largest so many marks are looked at."""


class View(NamedTuple):
    """A page as the network sees it."""

    tensor: Floats
    """(1, 3, H, W)"""
    region: Region
    """The part of the page that it shows, px of the page."""

    @property
    def scale(self) -> tuple[float, float]:
        """The factors (x, y) that bring px of the tensor back to px of the page."""
        return self.region.width / self.tensor.shape[3], self.region.height / self.tensor.shape[2]


def page_scale(width: int, height: int, parameters: DetectionParameters) -> float:
    """By how much a page of this size (px) is enlarged or shrunk when nothing is known of its text."""
    scale = min(1.0, parameters.long_side / max(width, height))
    wanted = parameters.short_side / min(width, height)
    if wanted > scale:
        affordable = math.sqrt(parameters.max_pixels / (width * height))
        scale = max(scale, min(wanted, affordable, _LONGEST * parameters.long_side / max(width, height)))
    return scale


def text_scale(width: int, height: int, letters: float | None, parameters: DetectionParameters) -> float:
    """`page_scale`, but no larger than letters of this height (px of the page) need."""
    scale = page_scale(width, height, parameters)
    if letters is None or not parameters.letter_height:
        return scale
    return min(scale, max(parameters.letter_height / letters, parameters.most_shrunk * scale))


def input_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height of the network input for so many px of a page: multiples of 32, ratio kept but for that."""
    return _strides(width * scale), _strides(height * scale)


def reduction(width: int, height: int, parameters: DetectionParameters) -> int:
    """1, 2, 4 or 8: by how much the image may be decoded smaller and still be no smaller than the network input."""
    wanted = input_size(width, height, page_scale(width, height, parameters))
    return max(by for by in (1, 2, 4, 8) if by == 1 or (width >= wanted[0] * by and height >= wanted[1] * by))


def _strides(length: float) -> int:
    return max(round(length / STRIDE), 1) * STRIDE


def prepare(image: Image, parameters: DetectionParameters) -> View:
    """Trim, resize as the text needs it, and normalise."""
    height, width = image.shape[:2]
    seen = look(image) if parameters.letter_height or parameters.trim else Look(Region(0, 0, width, height), None)
    region = seen.region if parameters.trim else Region(0, 0, width, height)
    size = input_size(region.width, region.height, text_scale(width, height, seen.letters, parameters))
    part = image[region.y : region.y + region.height, region.x : region.x + region.width]
    if size != (region.width, region.height):
        # Averaging over areas takes ten times as long, and shows in the quads only from half the size on.
        shrinks = size[0] * 2 <= region.width
        part = as_image(cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR))
    mean, std = ([255.0 * value for value in values] for values in (parameters.mean, parameters.std))
    if len(set(std)) == 1:
        tensor = cv2.dnn.blobFromImage(part, 1 / std[0], mean=mean)
    else:
        tensor = cv2.dnn.blobFromImage(part, 1.0, mean=mean) / as_floats(std).reshape(1, 3, 1, 1)
    return View(as_floats(tensor), region)


def boxes_from_map(
    probabilities: Floats,
    scale: tuple[float, float],
    size: tuple[int, int],
    parameters: DetectionParameters,
    origin: tuple[float, float] = (0.0, 0.0),
) -> tuple[Floats, Floats]:
    """Read the boxes off a probability map.

    Args:
        probabilities: (H, W), 0..1.
        scale: px of the image for one px of the map, x and y.
        size: Width and height of the image in px; boxes are clipped to it.
        parameters: As given to `prepare`.
        origin: Where the map begins, px of the image.

    Returns:
        Quads (N, 4, 2) in px of the image, corners clockwise from top left, and their scores (N,) 0..1.
    """
    mask = (probabilities > parameters.pixel_threshold).astype(np.uint8)
    if parameters.dilate:
        mask = cv2.dilate(mask, np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) > parameters.max_boxes:
        contours = sorted(contours, key=len, reverse=True)[: parameters.max_boxes]
    quads: list[Floats] = []
    scores: list[float] = []
    for contour in contours:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < parameters.min_side:
            continue
        score = _mean_inside(probabilities, as_floats(cv2.boxPoints((centre, (width, height), angle))))
        if score < parameters.box_threshold:
            continue
        grown = 2 * width * height * parameters.unclip_ratio / (2 * (width + height))
        corners = cv2.boxPoints((centre, (width + grown, height + grown), angle))
        quads.append(clip(clockwise(as_floats(corners) * as_floats(scale) + as_floats(origin)), *size))
        scores.append(score)
    return as_floats(quads).reshape(-1, 4, 2), as_floats(scores)


def _mean_inside(probabilities: Floats, corners: Floats) -> float:
    height, width = probabilities.shape
    limit = (width - 1, height - 1)
    low = np.clip(np.floor(corners.min(axis=0)), 0, limit).astype(np.int32)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, limit).astype(np.int32)
    window = probabilities[low[1] : high[1] + 1, low[0] : high[0] + 1]
    mask = np.zeros(window.shape, np.uint8)
    cv2.fillPoly(mask, [(corners - low).astype(np.int32)], (1,))
    return float(cv2.mean(window, mask)[0])
