"""Receipts as image bytes with their truth: plain ones in quantity for tests, photographed ones to look at."""

import io
import random

from PIL import Image

from samples.content import Receipt, Style
from samples.invent import invent
from samples.layouts import PRINTERS, rows
from samples.photo import Quad, Shot, View, take
from samples.thermal import Box, Print, compose, draw, runs
from samples.truth import Truth, language_of, receipt_fields, receipt_items, receipt_taxes, truth_lines

JPEG_QUALITY = 90


def render_receipt(seed: int, *, style: Style | None = None, photo: bool = False) -> tuple[bytes, Truth]:
    """An invented receipt as an image file.

    Args:
        seed: the same seed gives the same receipt; different seeds give different ones.
        style: layout; None takes the three in turn, by the seed.
        photo: photographed, as JPEG (about 2 s); else the bare print as PNG (about 30 ms).
    """
    receipt = invent(seed, style)
    page = compose(rows(receipt), PRINTERS[receipt.style])
    name = f"receipt-{seed}"
    if photo:
        shot = shot_of(seed, page)
        return jpeg(take(draw(page), shot)), photo_truth(receipt, page, shot, name)
    out = io.BytesIO()
    draw(page).save(out, "PNG", compress_level=1)
    return out.getvalue(), plain_truth(receipt, page, name)


def shot_of(seed: int, page: Print) -> Shot:
    """A photo of 1200 x 1600 px that holds the whole paper, a little turned and tilted."""
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    height = 0.88
    width = min(height * 1600 / 1200 * page.width / page.height, 0.8)
    height = min(height, width * 1200 / 1600 * page.height / page.width)

    def near(x: float, y: float) -> tuple[float, float]:
        return x + dice.uniform(-0.03, 0.03), y + dice.uniform(-0.025, 0.025)

    left, top = (1 - width) / 2, (1 - height) / 2
    return Shot(
        width=1200,
        height=1600,
        corners=(
            near(left, top),
            near(left + width, top),
            near(left + width, top + height),
            near(left, top + height),
        ),
        bend=dice.uniform(-0.03, 0.03),
        seed=seed,
        warmth=dice.uniform(-0.4, 0.6),
        fold=dice.choice((None, dice.uniform(0.3, 0.7))),
    )


def jpeg(image: Image.Image) -> bytes:
    """The photo as JPEG."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def plain_truth(receipt: Receipt, page: Print, name: str) -> Truth:
    """Truth of the bare print."""
    lines = [(_quad(run.box), run.text) for run in runs(page)]
    return _truth(receipt, f"{name}.png", (page.width, page.height), lines)


def photo_truth(receipt: Receipt, page: Print, shot: Shot, name: str) -> Truth:
    """Truth of the photographed print."""
    view = View((page.width, page.height), shot)
    lines = [(view.quad(run.box), run.text) for run in runs(page)]
    return _truth(receipt, f"{name}.jpg", (shot.width, shot.height), lines)


def _quad(box: Box) -> Quad:
    left, top, right, bottom = (round(value, 1) for value in box)
    return (left, top, right, top, right, bottom, left, bottom)


def _truth(receipt: Receipt, image: str, size: tuple[int, int], lines: list[tuple[Quad, str]]) -> Truth:
    return {
        "id": image.rpartition(".")[0],
        "image": image,
        "width": size[0],
        "height": size[1],
        "kind": "receipt",
        "language": language_of(receipt),
        "fields": receipt_fields(receipt),
        "items": receipt_items(receipt),
        "taxes": receipt_taxes(receipt),
        "lines": truth_lines(lines),
    }
