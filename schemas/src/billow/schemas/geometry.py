"""Where something stands on a page."""

import msgspec

Quad = tuple[float, float, float, float, float, float, float, float]
"""x1, y1 .. x4, y4 in px of the page, corners clockwise from the text's own top left."""


class Page(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One page as all quads see it: after the EXIF turn, PDF pages rendered at `dpi`."""

    width: int
    """px"""
    height: int
    """px"""
    rotation: int = 0
    """Degrees clockwise by which the stored image was turned to get here: 0, 90, 180 or 270."""
    dpi: float | None = None
    """px per inch of a rendered PDF page; None for an image."""


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """A place on a page."""

    page: int
    """Index into `pages`."""
    quad: Quad


class TextLine(msgspec.Struct, frozen=True, kw_only=True):
    """One run of text as the reader saw it; a printed line may be several of these side by side."""

    text: str
    quad: Quad
    page: int = 0
    confidence: float = 1.0
    """0..1; 1.0 for a PDF's own text."""


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A word of a `TextLine`, its quad cut from the line's."""

    text: str
    quad: Quad
    page: int = 0
    line: int = 0
    """Index of the line that the word stands in, in reading order."""
    confidence: float = 1.0
    """0..1"""
