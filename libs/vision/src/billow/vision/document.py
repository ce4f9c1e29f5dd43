"""A document as its pages, whatever kind of file it came in."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from types import TracebackType
from typing import Self

from billow.runtime.errors import PermanentError
from billow.schemas.geometry import Page, TextLine
from billow.vision.arrays import Image
from billow.vision.headers import ImageHeader, damaged, read_header
from billow.vision.media import Limits, MediaType, check_pixels, check_size, sniff
from billow.vision.pdf import PdfFile
from billow.vision.pdf_text import TrustParameters, build_lines, is_trustworthy
from billow.vision.raster import decode


class PageImage:
    """One page: what it measures, what it shows, and its own text if it has any that can be believed."""

    def __init__(
        self,
        page: Page,
        *,
        image: Image | None = None,
        encoded: bytes | None = None,
        text_lines: tuple[TextLine, ...] | None = None,
        source: PdfFile | None = None,
        index: int = 0,
    ) -> None:
        self.page = page
        self.encoded = encoded
        """Bytes from which `raster.decode_pixels` makes exactly `image`: the original itself, if it lay upright.
        None when the pixels would have to be encoded anew."""
        self.text_lines = text_lines
        """In reading order; None when the page has to be read by OCR."""
        self._image = image
        self._source = source
        self._index = index

    @cached_property
    def image(self) -> Image:
        """The pixels, (height, width, 3) BGR. A PDF page is drawn when this is first asked for.

        Raises:
            PermanentError: `pdf_damaged`.
        """
        if self._image is not None:
            return self._image
        if self._source is None or self.page.dpi is None:
            raise ValueError("a page needs pixels or a PDF to draw them from")
        return self._source.render(self._index, self.page.dpi, (self.page.width, self.page.height))


class Document(ABC):
    """An open document. Pages are decoded when asked for, each time anew, so that only one need be in memory.

    Use it as a context manager, or call `close()`: pages of a PDF cannot be drawn after that.
    """

    def __init__(self, media_type: MediaType, page_count: int) -> None:
        self.media_type = media_type
        self.page_count = page_count

    @abstractmethod
    def page(self, index: int) -> PageImage:
        """Decode one page, 0 <= index < `page_count`.

        Raises:
            PermanentError: `image_damaged` or `pdf_damaged`.
            IndexError: there is no such page.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the memory back. Safe to call twice."""

    def __iter__(self) -> Iterator[PageImage]:
        """Every page in turn."""
        for index in range(self.page_count):
            yield self.page(index)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Picture(Document):
    def __init__(self, data: bytes, media_type: MediaType, header: ImageHeader) -> None:
        super().__init__(media_type, 1)
        self._data = data
        self._header = header

    def page(self, index: int) -> PageImage:
        if index != 0:
            raise IndexError(f"a picture has one page, not {index + 1}")
        raster = decode(self._data, self._header)
        height, width = raster.image.shape[:2]
        return PageImage(
            Page(width=width, height=height, rotation=raster.rotation),
            image=raster.image,
            encoded=self._data if raster.as_stored else None,
        )

    def close(self) -> None:
        """Nothing to do: it holds nothing but the bytes it was given."""


class _Pdf(Document):
    def __init__(self, file: PdfFile, limits: Limits, trust: TrustParameters) -> None:
        super().__init__("application/pdf", len(file))
        self._file = file
        self._limits = limits
        self._trust = trust

    def page(self, index: int) -> PageImage:
        if not 0 <= index < self.page_count:
            raise IndexError(f"the document has {self.page_count} pages, not {index + 1}")
        page = _pdf_page(self._file.inches(index), self._limits)
        glyphs, picture_share = self._file.glyphs(index, (page.width, page.height))
        lines = None
        if is_trustworthy(glyphs, page.height, picture_share, self._trust):
            lines = build_lines(glyphs, index, page.width, page.height)
        return PageImage(page, text_lines=lines, source=self._file, index=index)

    def close(self) -> None:
        self._file.close()


def _pdf_page(inches: tuple[float, float], limits: Limits) -> Page:
    width, height = inches
    dpi = min(
        limits.pdf_dpi,
        math.sqrt(limits.pdf_max_pixels / (width * height)),
        limits.max_side / max(width, height),
    )
    return Page(width=max(math.ceil(width * dpi), 1), height=max(math.ceil(height * dpi), 1), dpi=round(dpi, 3))


def open_document(data: bytes, limits: Limits | None = None, trust: TrustParameters | None = None) -> Document:
    """Look at the file and its limits; nothing is decoded yet.

    Args:
        data: The original bytes; kept, not copied.
        limits: What it may cost.
        trust: When the text of a PDF page replaces OCR.

    Raises:
        PermanentError: `empty_file`, `unsupported_media_type`, `file_too_large`, `image_too_large`, `image_damaged`,
            `too_many_pages`, `pdf_damaged` or `pdf_encrypted`.
    """
    limits = limits or Limits()
    check_size(data, limits)
    media_type = sniff(data)
    if media_type == "application/pdf":
        return _open_pdf(data, limits, trust or TrustParameters())
    header = read_header(data, media_type)
    check_pixels(header.width, header.height, limits)
    if not header.complete:
        raise damaged()
    return _Picture(data, media_type, header)


def _open_pdf(data: bytes, limits: Limits, trust: TrustParameters) -> Document:
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
