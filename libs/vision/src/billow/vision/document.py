"""A document as its pages, whatever kind of file it came in."""

from collections.abc import Callable

from billow.schemas.geometry import Page
from billow.vision.headers import ImageHeader, damaged, read_header
from billow.vision.media import Limits, MediaType, check_pixels, check_size, sniff
from billow.vision.pages import Document, PageImage
from billow.vision.pdf_document import open_pdf
from billow.vision.pdf_text import TrustParameters
from billow.vision.raster import decode

OpenPdf = Callable[[bytes, Limits, TrustParameters], Document]


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


def open_document(
    data: bytes, limits: Limits | None = None, trust: TrustParameters | None = None, *, pdf: OpenPdf = open_pdf
) -> Document:
    """Look at the file and its limits; nothing is decoded yet.

    Args:
        data: The original bytes; kept, not copied.
        limits: What it may cost.
        trust: When the text of a PDF page replaces OCR.
        pdf: How PDFs are opened; `PdfProcess.open` reads what strangers send in a process apart.

    Raises:
        PermanentError: `empty_file`, `unsupported_media_type`, `file_too_large`, `image_too_large`, `image_damaged`,
            `image_too_complex`, `too_many_pages`, `pdf_damaged` or `pdf_encrypted`, and what `pdf` raises.
    """
    limits = limits or Limits()
    check_size(data, limits)
    media_type = sniff(data)
    if media_type == "application/pdf":
        return pdf(data, limits, trust or TrustParameters())
    header = read_header(data, media_type)
    check_pixels(header.width, header.height, limits)
    if not header.complete:
        raise damaged()
    return _Picture(data, media_type, header)
