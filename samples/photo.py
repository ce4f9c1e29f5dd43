"""A print turned into a photograph: curled paper on a wooden desk, lit from one side, taken by hand."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from samples.scene import Floats, paper, smooth_noise, wood
from samples.thermal import Box

Quad = tuple[float, float, float, float, float, float, float, float]
"""x1, y1 .. x4, y4 in px of the photo, clockwise from the top left of the text"""
_STEP = 24


@dataclass(frozen=True, kw_only=True)
class Shot:
    """How the photo is taken. The same shot of the same print gives the same picture."""

    width: int
    """px of the photo"""
    height: int
    corners: tuple[tuple[float, float], ...]
    """Where the paper's top left, top right, bottom right and bottom left come to lie: fractions of the photo."""
    bend: float
    """How far the long edges bow sideways: fraction of the paper's width."""
    seed: int
    warmth: float = 0.0
    """-1 is bluish light, 1 yellowish."""
    fold: float | None = None
    """Where the paper was folded: fraction of its length; None for not at all."""
    wood: tuple[int, int, int] = (150, 106, 70)
    """Colour of the desk."""
    blur: float = 0.7
    """px"""


class View:
    """The way from the flat print (px) to the photo (px) and back."""

    def __init__(self, size: tuple[int, int], shot: Shot) -> None:
        width, height = size
        flat = ((0.0, 0.0), (width, 0.0), (width, height), (0.0, height))
        seen = tuple((x * shot.width, y * shot.height) for x, y in shot.corners)
        self.size = size
        """px of the flat print: width, height"""
        self._bend = shot.bend * width
        self._matrix = _homography(flat, seen)
        self._inverse = np.linalg.inv(self._matrix).astype(np.float64)

    def to_photo(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (n, 2) points of the print."""
        bowed = points.copy()
        bowed[:, 0] += self._bow(points[:, 1])
        return _project(self._matrix, bowed)

    def to_print(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map (n, 2) points of the photo."""
        flat = _project(self._inverse, points)
        flat[:, 0] -= self._bow(flat[:, 1])
        return flat

    def quad(self, box: Box) -> Quad:
        """The corners of a box of the print, to a tenth of a px."""
        left, top, right, bottom = box
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], dtype=np.float64)
        x1, y1, x2, y2, x3, y3, x4, y4 = (round(float(value), 1) for value in self.to_photo(corners).ravel())
        return (x1, y1, x2, y2, x3, y3, x4, y4)

    def _bow(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._bend * np.sin(np.clip(y / self.size[1], -0.2, 1.2) * np.pi)


def take(page: Image.Image, shot: Shot) -> Image.Image:
    """Photograph a print of mode L."""
    view = View(page.size, shot)
    sheet, mask = paper(page, shot.seed, shot.fold)
    sheet, mask = (_warp(image, view, (shot.width, shot.height)) for image in (sheet, mask))
    desk = wood((shot.width, shot.height), shot.wood, shot.seed)
    desk = _darken(desk, mask, offset=(9, 12), blur=9, strength=0.55)
    desk = _darken(desk, mask, offset=(26, 34), blur=34, strength=0.32)
    scene = Image.composite(sheet, desk, mask)
    light = _light(shot)
    pixels: Floats = np.asarray(scene, dtype=np.float32) * light
    noise = np.random.default_rng(shot.seed).normal(0.0, 2.4, pixels.shape).astype(np.float32)
    exposed = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(shot.blur))
    return Image.fromarray(np.clip(np.asarray(exposed, dtype=np.float32) + noise, 0, 255).astype(np.uint8))


def _light(shot: Shot) -> Floats:
    """(h, w, 3) factors: falling off to one corner, the photographer's soft shadow, and the lamp's colour."""
    y, x = np.mgrid[0 : shot.height, 0 : shot.width].astype(np.float32)
    x, y = x / shot.width, y / shot.height
    falloff = 1.06 - 0.16 * x - 0.13 * y
    edge = (x * 0.75 + y * 0.55 - 0.86) * 9 + 2.4 * smooth_noise((shot.height, shot.width), 3, shot.seed + 5)
    shadow = 1 - 0.20 / (1 + np.exp(-edge * 1.3))
    vignette = 1 - 0.18 * ((x - 0.5) ** 2 + (y - 0.5) ** 2)
    tint = np.array([1 + 0.05 * shot.warmth, 1.0, 1 - 0.10 * shot.warmth], dtype=np.float32)
    return (falloff * shadow * vignette)[..., None].astype(np.float32) * tint


def _darken(
    desk: Image.Image, mask: Image.Image, *, offset: tuple[int, int], blur: float, strength: float
) -> Image.Image:
    """Cast the shadow of `mask` on the desk."""
    shade = Image.new("L", mask.size, 0)
    shade.paste(mask, offset)
    soft = shade.filter(ImageFilter.GaussianBlur(blur)).point([round(v * strength) for v in range(256)])
    return Image.composite(Image.new("RGB", desk.size, (24, 16, 12)), desk, soft)


def _warp(image: Image.Image, view: View, size: tuple[int, int]) -> Image.Image:
    """Draw `image` (k times the print's size) as `view` sees it, cell by cell."""
    scale = image.width / view.size[0]
    xs, ys = range(0, size[0], _STEP), range(0, size[1], _STEP)
    cells: list[tuple[tuple[int, int, int, int], tuple[float, ...]]] = []
    for y in ys:
        for x in xs:
            right, bottom = min(x + _STEP, size[0]), min(y + _STEP, size[1])
            # Pillow wants top left, bottom left, bottom right, top right.
            corners = np.array([(x, y), (x, bottom), (right, bottom), (right, y)], dtype=np.float64)
            source = view.to_print(corners) * scale
            cells.append(((x, y, right, bottom), tuple(float(v) for v in source.ravel())))
    return image.transform(size, Image.Transform.MESH, cells, Image.Resampling.BICUBIC)


def _project(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    lifted = np.column_stack((points, np.ones(len(points)))) @ matrix.T
    return lifted[:, :2] / lifted[:, 2:]


def _homography(
    source: tuple[tuple[float, float], ...], target: tuple[tuple[float, float], ...]
) -> NDArray[np.float64]:
    """The projective map that takes four points to four points (direct linear transform)."""
    left: list[list[float]] = []
    right: list[float] = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        left += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    solved = np.linalg.solve(np.array(left), np.array(right))
    return np.append(solved, 1.0).reshape(3, 3)
