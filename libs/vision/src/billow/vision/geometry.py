"""Quads as arrays: (4, 2) float32 corners in px, clockwise from the text's own top left."""

from collections.abc import Iterable

import numpy as np

from billow.schemas.geometry import Quad
from billow.vision.arrays import Floats, as_floats


def clockwise(corners: Floats) -> Floats:
    """Order the corners of a convex quad: top left, top right, bottom right, bottom left.

    "Left" are the two smallest x. A square standing on its corner has no clear top left; any of the two is taken.
    """
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left, right = by_x[:2], by_x[2:]
    top_left, bottom_left = left[np.argsort(left[:, 1], kind="stable")]
    top_right, bottom_right = right[np.argsort(right[:, 1], kind="stable")]
    return as_floats([top_left, top_right, bottom_right, bottom_left])


def sides(corners: Floats) -> tuple[float, float]:
    """Width and height in px: of each pair of opposite sides the longer one."""
    top, right, bottom, left = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1)
    return float(max(top, bottom)), float(max(left, right))


def rectangle(x0: float, y0: float, x1: float, y1: float) -> Floats:
    """Corners of an upright rectangle."""
    return as_floats([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def clip(corners: Floats, width: int, height: int) -> Floats:
    """Move every corner into the page, `0..width` by `0..height`."""
    return as_floats(np.clip(corners, 0, (width, height)))


def to_quad(corners: Floats) -> Quad:
    """The form in which quads travel; rounded to a hundredth of a px."""
    x1, y1, x2, y2, x3, y3, x4, y4 = (round(float(value), 2) for value in corners.reshape(8))
    return (x1, y1, x2, y2, x3, y3, x4, y4)


def from_quad(quad: Quad) -> Floats:
    """The corners of a quad that has travelled, (4, 2)."""
    return as_floats(quad).reshape(4, 2)


def from_quads(quads: Iterable[Quad]) -> Floats:
    """Corners of many quads, (N, 4, 2); N may be 0."""
    return as_floats(list(quads)).reshape(-1, 4, 2)


def scaled(quad: Quad, factor: float) -> Quad:
    """The same quad on an image `factor` times as large."""
    return to_quad(from_quad(quad) * np.float32(factor))
