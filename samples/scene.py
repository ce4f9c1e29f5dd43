"""What lies in front of the camera: a strip of thermal paper and a wooden desk, drawn from noise."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Floats: TypeAlias = NDArray[np.float32]

_UPSCALE = 2
"""The paper is drawn finer than the printer's dots, so that the camera sees soft edges."""
_INK = np.array([66, 63, 72], dtype=np.float32)
_PAPER = np.array([250, 248, 243], dtype=np.float32)


def smooth_noise(shape: tuple[int, int], cells: int | tuple[int, int], seed: int) -> Floats:
    """(h, w) noise between -1 and 1, as coarse as `cells` (down, across) says."""
    down, across = (cells, cells) if isinstance(cells, int) else cells
    coarse = np.random.default_rng(seed).uniform(-1, 1, (down + 1, across + 1)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))


def paper(page: Image.Image, seed: int, fold: float | None) -> tuple[Image.Image, Image.Image]:
    """The print as a strip of paper (RGB) and its outline (L), both at twice the size of the print."""
    size = (page.width * _UPSCALE, page.height * _UPSCALE)
    shape = (size[1], size[0])
    dots = page.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(0.9))
    cover = 1 - np.asarray(dots, dtype=np.float32) / 255
    # The head prints some columns weaker, and the paper takes heat unevenly.
    streaks = smooth_noise((1, size[0]), (1, size[0] // 7), seed + 1)
    cover = cover * np.clip(0.90 + 0.07 * streaks + 0.10 * smooth_noise(shape, (14, 5), seed + 2), 0, 1)
    cover = cover * np.clip(0.97 + 0.12 * smooth_noise(shape, (shape[0] // 5, shape[1] // 5), seed + 3), 0, 1)
    colour = _PAPER + (_INK - _PAPER) * cover[..., None]
    shaded = colour * _relief(shape, seed, fold)[..., None]
    image = Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8))
    return image, _outline(size, seed)


def _relief(shape: tuple[int, int], seed: int, fold: float | None) -> Floats:
    """How bright each spot of curled and creased paper is."""
    height, width = shape
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    curl = 1 - 0.10 * np.exp(-y / 0.03) - 0.12 * np.exp(-(1 - y) / 0.035) - 0.035 * np.sin(y * 9 + 1.1)
    roll = 1 - 0.05 * x**3 - 0.04 * (1 - x) ** 4
    grain = 1 + 0.012 * smooth_noise(shape, (height // 3, width // 3), seed + 11)
    waves = 1 + 0.022 * smooth_noise(shape, (9, 3), seed + 12)
    relief = curl * roll * grain * waves
    if fold is not None:
        distance = (y - fold - 0.006 * (x - 0.5)) * height
        relief = relief * (1 - 0.15 * np.exp(-((distance / 9) ** 2)) + 0.05 * np.exp(-(((distance - 16) / 12) ** 2)))
        relief = relief * np.where(distance > 0, 0.965, 1.0)
    return relief.astype(np.float32)


def _outline(size: tuple[int, int], seed: int) -> Image.Image:
    """Straight sides; the ends carry the teeth of the cutter."""
    width, height = size
    dice = np.random.default_rng(seed + 21)
    mask = Image.new("L", size, 255)
    pen = ImageDraw.Draw(mask)
    pitch = 14
    for x in range(0, width, pitch):
        top, bottom = (float(value) for value in dice.uniform(6, 10, 2))
        pen.polygon([(x, 0), (x + pitch, 0), (x + pitch, 1), (x + pitch / 2, top), (x, 1)], fill=0)
        pen.polygon([(x, height), (x + pitch, height), (x + pitch / 2, height - bottom)], fill=0)
    pen.rectangle((0, 0, width - 1, height - 1), outline=0)
    return mask.filter(ImageFilter.GaussianBlur(1))


def wood(size: tuple[int, int], colour: tuple[int, int, int], seed: int) -> Image.Image:
    """Planks that run down the picture, with grain along them and dark joints between them."""
    width, height = size
    board = max(280, width // 4)
    image = np.zeros((height, width, 3), dtype=np.float32)
    start = -int(np.random.default_rng(seed).integers(40, board))
    for index, left in enumerate(range(start, width, board)):
        image_part = _plank((height, board), colour, seed + 31 * (index + 1))
        begin, end = max(left, 0), min(left + board, width)
        image[:, begin:end] = image_part[:, begin - left : end - left]
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def _plank(shape: tuple[int, int], colour: tuple[int, int, int], seed: int) -> Floats:
    """One board (h, w, 3)."""
    height, width = shape
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    drift = 0.16 * smooth_noise(shape, (5, 2), seed) + 0.05 * smooth_noise(shape, (16, 4), seed + 1)
    centre = 0.5 + 0.3 * float(np.random.default_rng(seed + 2).uniform(-1, 1))
    rings = np.sin(((x - centre + drift) ** 2 * 34 + (x + drift) * 26 + 0.6 * y) * 2.6)
    fibres = smooth_noise(shape, (max(height // 90, 2), width // 3), seed + 3)
    pores = np.clip(smooth_noise(shape, (max(height // 34, 2), width // 2), seed + 4) - 0.45, 0, 1)
    shade = 1 + 0.055 * rings + 0.06 * fibres - 0.35 * pores + 0.07 * smooth_noise(shape, (3, 1), seed + 6)
    shade = shade * (1 + 0.10 * float(np.random.default_rng(seed + 5).uniform(-1, 1)))
    joint = np.minimum(x, 1 - x) * width
    shade = shade * (1 - 0.62 * np.exp(-((joint / 2.4) ** 2)) - 0.10 * np.exp(-joint / 12))
    warm = np.array(colour, dtype=np.float32) * (1 + 0.02 * rings[..., None] * np.array([1, 0, -1], dtype=np.float32))
    return (warm * shade[..., None]).astype(np.float32)
