"""Cutting text lines out of a page."""

import cv2
import numpy as np

from billow.vision.arrays import Floats, Image, as_image
from billow.vision.geometry import sides

UPRIGHT_RATIO = 1.5
"""A quad this many times as high as wide is taken for a line that runs down the page."""


MAX_HEIGHT = 48
"""px; the recognisers look at no more, so higher crops would only cost time and bytes."""


def crop(image: Image, corners: Floats, max_height: int | None = MAX_HEIGHT) -> Image:
    """Straighten the quad (4, 2) out of the page by perspective, in its own size or shrunk to `max_height` px.

    A line that runs down the page comes out lying, turned left by 90 degrees. At least 1 by 1 px, whatever the quad.
    """
    width, height = (max(int(side), 1) for side in sides(corners))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(corners, target)
    cut = cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if height >= UPRIGHT_RATIO * width:
        cut = cv2.rotate(cut, cv2.ROTATE_90_COUNTERCLOCKWISE)
    if max_height is not None and cut.shape[0] > max_height:
        width = max(round(cut.shape[1] * max_height / cut.shape[0]), 1)
        cut = cv2.resize(cut, (width, max_height), interpolation=cv2.INTER_AREA)
    return as_image(cut)
