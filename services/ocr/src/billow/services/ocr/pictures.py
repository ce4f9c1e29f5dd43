"""Pixels between the models: what is cut out for recognition, and in which order. All of it blocks."""

from collections.abc import Sequence

from billow.schemas.geometry import Quad
from billow.vision.crops import crop
from billow.vision.geometry import from_quad, from_quads, scaled
from billow.vision.pages import PageImage
from billow.vision.reading_order import reading_order
from billow.vision.transport import Encoding, encode


def in_reading_order(quads: Sequence[Quad], factor: float) -> list[Quad]:
    """Quads of the picture that was sent as quads of the page, `factor` times as large, sorted as one reads them."""
    return [scaled(quads[index], factor) for index in reading_order(from_quads(quads))] if quads else []


def cut_crops(page: PageImage, quads: Sequence[Quad], encoding: Encoding) -> tuple[list[bytes], list[int]]:
    """Cut and encode each line; returns the bytes and the widths (px).

    Raises:
        PermanentError: a line cannot be encoded.
    """
    cuts = [crop(page.image, from_quad(quad)) for quad in quads]
    return [encode(cut, encoding) for cut in cuts], [cut.shape[1] for cut in cuts]
