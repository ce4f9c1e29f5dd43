"""What a document is once it is open: pages, whatever kind of file it came in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from types import TracebackType
from typing import Self

from billow.schemas.geometry import Page, TextLine
from billow.vision.arrays import Image
from billow.vision.media import MediaType


class PageImage:
    """One page: what it measures, what it shows, and its own text if it has any that can be believed."""

    def __init__(
        self,
        page: Page,
        *,
        image: Image | None = None,
        encoded: bytes | None = None,
        text_lines: tuple[TextLine, ...] | None = None,
        draw: Callable[[], Image] | None = None,
    ) -> None:
        self.page = page
        self.encoded = encoded
        """Bytes from which `raster.decode_pixels` makes exactly `image`: the original itself, if it lay upright.
        None when the pixels would have to be encoded anew."""
        self.text_lines = text_lines
        """In reading order; None when the page has to be read by OCR."""
        self._image = image
        self._draw = draw

    @cached_property
    def image(self) -> Image:
        """The pixels, (height, width, 3) BGR. A PDF page is drawn when this is first asked for.

        Raises:
            PermanentError: `pdf_damaged`.
        """
        if self._image is not None:
            return self._image
        if self._draw is None:
            raise ValueError("a page needs pixels, or to be told where they come from")
        return self._draw()


class Document(ABC):
    """An open document. Pages are decoded when asked for, each time anew, so that only one need be in memory.

    Use it as a context manager, or call `close()`: pages of a PDF cannot be drawn after that.
    """

    def __init__(self, media_type: MediaType, page_count: int) -> None:
        self.media_type: MediaType = media_type
        self.page_count = page_count

    @abstractmethod
    def page(self, index: int) -> PageImage:
        """Decode one page, 0 <= index < `page_count`.

        Raises:
            PermanentError: `image_damaged`, `pdf_damaged`, or `pdf_too_complex` where PDFs are read apart.
            TransientError: where PDFs are read apart, and that ended through no fault of the document.
            IndexError: there is no such page.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the memory back. Safe to call twice."""

    def _check(self, index: int) -> None:
        """Raises IndexError: there is no such page."""
        if not 0 <= index < self.page_count:
            raise IndexError(f"the document has {self.page_count} pages, not {index + 1}")

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
