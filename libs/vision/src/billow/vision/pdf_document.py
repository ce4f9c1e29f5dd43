"""PDFs, page by page: their own text where it can be believed, and a drawing where not."""

import math
from functools import partial

from billow.runtime.errors import PermanentError
from billow.schemas.geometry import Page
from billow.vision.media import Limits
from billow.vision.pages import Document, PageImage
from billow.vision.pdf import PdfFile
from billow.vision.pdf_text import TrustParameters, build_lines, is_trustworthy


class _Pdf(Document):
    def __init__(self, file: PdfFile, limits: Limits, trust: TrustParameters) -> None:
        super().__init__("application/pdf", len(file))
        self._file = file
        self._limits = limits
        self._trust = trust

    def page(self, index: int) -> PageImage:
        self._check(index)
        page, dpi = _measure(self._file.inches(index), self._limits)
        glyphs, picture_share = self._file.glyphs(index, (page.width, page.height))
        lines = None
        if is_trustworthy(glyphs, page.height, picture_share, self._trust):
            lines = build_lines(glyphs, index, page.width, page.height)
        draw = partial(self._file.render, index, dpi, (page.width, page.height))
        return PageImage(page, text_lines=lines, draw=draw)

    def close(self) -> None:
        self._file.close()


def _measure(inches: tuple[float, float], limits: Limits) -> tuple[Page, float]:
    """The page as drawn, and its px per inch."""
    width, height = inches
    dpi = min(
        limits.pdf_dpi,
        math.sqrt(limits.pdf_max_pixels / (width * height)),
        limits.max_side / max(width, height),
    )
    size = max(math.ceil(width * dpi), 1), max(math.ceil(height * dpi), 1)
    dpi = round(dpi, 3)
    return Page(width=size[0], height=size[1], dpi=dpi), dpi


def open_pdf(data: bytes, limits: Limits, trust: TrustParameters) -> Document:
    """Look at the file and count its pages, in this process.

    Raises:
        PermanentError: `too_many_pages`, `pdf_damaged` or `pdf_encrypted`.
    """
    file = PdfFile(data)
    pages = len(file)
    if 1 <= pages <= limits.max_pages:
        return _Pdf(file, limits, trust)
    file.close()
    if pages == 0:
        raise PermanentError("The PDF has no pages. Send another file.", code="pdf_damaged")
    raise PermanentError(
        f"The PDF has {pages} pages; at most {limits.max_pages} are accepted. Send it in parts.",
        code="too_many_pages",
    )
