# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false, reportMissingParameterType=false
"""The only module that speaks to PDFium. PDFium is not thread safe, so every call holds one lock."""

import ctypes
import math
import threading
from collections.abc import Iterator

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

from billow.runtime.errors import PermanentError
from billow.vision.arrays import Image, as_image
from billow.vision.pdf_text import GAP, UNREADABLE, Glyph

_LOCK = threading.RLock()
_POINTS_PER_INCH = 72.0
_FINE = 64
"""Device steps in a px when coordinates are asked of PDFium, which answers in whole numbers."""
_LIGATURES = {"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\ufb05": "st"}
_CHARACTERS = {**_LIGATURES, "\x02": "-", "\xad": "-", "\xa0": " ", "\ufffe": "-", "\x00": UNREADABLE}
"""PDFium says 2 (or FFFE) for a hyphen at the end of a line."""
_ASCENT, _DESCENT = 0.8, 0.2
"""Of the font size: what a line reaches above and below its baseline, where the font does not say."""
_ASKEW = 0.15
"""Of a quarter turn."""
_Box = tuple[float, float, float, float]
_GREATEST_PAGE = 200_000
"""Characters of one page that are looked at; more is no invoice."""


def _broken(detail: str) -> PermanentError:
    return PermanentError(
        f"The PDF cannot be read: {detail}. Open it, save it anew, and send that.", code="pdf_damaged"
    )


class PdfFile:
    """An open PDF. Methods may be called from any thread; they wait for each other."""

    def __init__(self, data: bytes) -> None:
        """Parse the file's directory.

        Raises:
            PermanentError: `pdf_damaged` or `pdf_encrypted`.
        """
        with _LOCK:
            try:
                self._document = pypdfium2.PdfDocument(data)
                self._document.init_forms()
            except pypdfium2.PdfiumError as e:
                if e.err_code == pdfium.FPDF_ERR_PASSWORD:
                    message = "The PDF is locked with a password. Send it without one."
                    raise PermanentError(message, code="pdf_encrypted") from e
                raise _broken("its structure is damaged") from e
            self._flat: set[int] = set()

    def __len__(self) -> int:
        """Pages."""
        with _LOCK:
            return len(self._document)

    def close(self) -> None:
        """Give the memory back. Safe to call twice."""
        with _LOCK:
            self._document.close()

    def _page(self, index: int) -> pypdfium2.PdfPage:
        """The page, with annotations and what was typed into forms made part of it."""
        try:
            page = self._document.get_page(index)
            if index not in self._flat:
                self._flat.add(index)
                if pdfium.FPDFPage_GetAnnotCount(page) > 0:
                    pdfium.FPDFPage_Flatten(page, pdfium.FLAT_NORMALDISPLAY)
                    page.close()
                    page = self._document.get_page(index)
        except pypdfium2.PdfiumError as e:
            raise _broken(f"page {index + 1} is damaged") from e
        return page

    def inches(self, index: int) -> tuple[float, float]:
        """Width and height of the page as shown.

        Raises:
            PermanentError: `pdf_damaged`.
        """
        with _LOCK:
            page = self._page(index)
            try:
                width, height = page.get_size()
            finally:
                page.close()
        if not (math.isfinite(width) and math.isfinite(height) and width > 0 and height > 0):
            raise _broken(f"page {index + 1} has no size")
        return width / _POINTS_PER_INCH, height / _POINTS_PER_INCH

    def render(self, index: int, dpi: float, size: tuple[int, int]) -> Image:
        """The page on white at `dpi`, cut or padded to `size` (width, height in px).

        Raises:
            PermanentError: `pdf_damaged`.
        """
        with _LOCK:
            page = self._page(index)
            try:
                bitmap = page.render(scale=dpi / _POINTS_PER_INCH)  # pyright: ignore[reportArgumentType]
                drawn = np.array(bitmap.to_numpy()[:, :, :3], copy=True)
                bitmap.close()
            except (pypdfium2.PdfiumError, ValueError) as e:
                raise _broken(f"page {index + 1} cannot be drawn") from e
            finally:
                page.close()
        if drawn.shape[:2] == size[::-1]:
            return as_image(drawn)
        image = np.full((size[1], size[0], 3), 255, np.uint8)
        height, width = min(size[1], drawn.shape[0]), min(size[0], drawn.shape[1])
        image[:height, :width] = drawn[:height, :width]
        return as_image(image)

    def glyphs(self, index: int, size: tuple[int, int]) -> tuple[list[Glyph], float]:
        """The visible characters, placed on a rendering of `size` (width, height in px).

        Returns:
            The glyphs in the order of the file, and the share (0..1) of the page under pictures.

        Raises:
            PermanentError: `pdf_damaged`.
        """
        with _LOCK:
            page = self._page(index)
            try:
                frame = _Frame(page, size)
                text = page.get_textpage()
                try:
                    return list(_glyphs(text, frame)), _picture_share(page, frame)
                finally:
                    text.close()
            except pypdfium2.PdfiumError as e:
                raise _broken(f"page {index + 1} is damaged") from e
            finally:
                page.close()


class _Frame:
    """From the coordinates of a PDF page to px, as PDFium draws it: crop box and rotation included."""

    def __init__(self, page: pypdfium2.PdfPage, size: tuple[int, int]) -> None:
        self.size = size
        x, y = ctypes.c_int(), ctypes.c_int()

        def ask(point: tuple[float, float]) -> tuple[float, float]:
            pdfium.FPDF_PageToDevice(page, 0, 0, size[0] * _FINE, size[1] * _FINE, 0, *point, x, y)
            return x.value / _FINE, y.value / _FINE

        (self._x, self._y), right, up = ask((0.0, 0.0)), ask((1000.0, 0.0)), ask((0.0, 1000.0))
        self._right = ((right[0] - self._x) / 1000, (right[1] - self._y) / 1000)
        self._up = ((up[0] - self._x) / 1000, (up[1] - self._y) / 1000)
        self.scale = math.hypot(*self._right)
        """px in a point"""

    def place(self, x: float, y: float) -> tuple[float, float]:
        return (
            self._x + x * self._right[0] + y * self._up[0],
            self._y + x * self._right[1] + y * self._up[1],
        )

    def box(self, left: float, bottom: float, right: float, top: float) -> _Box:
        (ax, ay), (bx, by) = self.place(left, bottom), self.place(right, top)
        return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)

    def turns(self, right: float, up: float) -> int | None:
        """Quarter turns clockwise, on the page as shown, of text that runs along this vector of the PDF's own frame.

        None for what stands askew: a watermark or a stamp.
        """
        dx = right * self._right[0] + up * self._up[0]
        dy = right * self._right[1] + up * self._up[1]
        quarters = math.atan2(dy, dx) / (math.pi / 2)
        return round(quarters) % 4 if abs(quarters - round(quarters)) < _ASKEW else None

    def shows(self, box: _Box) -> bool:
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        return 0 <= x <= self.size[0] and 0 <= y <= self.size[1]


def _glyphs(text: pypdfium2.PdfTextPage, frame: _Frame) -> Iterator[Glyph]:
    invisible: dict[int, bool] = {}
    for index in range(min(text.count_chars(), _GREATEST_PAGE)):
        code = pdfium.FPDFText_GetUnicode(text, index)
        character = _CHARACTERS.get(chr(code), chr(code)) if code < 0x110000 else UNREADABLE
        if character.isspace():
            generated = pdfium.FPDFText_IsGenerated(text, index) == 1
            yield Glyph(text=GAP if generated else " ", box=(0, 0, 0, 0), size=0)
            continue
        if _is_invisible(text, index, invisible):
            continue
        if pdfium.FPDFText_HasUnicodeMapError(text, index) == 1:
            character = UNREADABLE
        glyph = _place(text, index, character, frame)
        if glyph is not None and frame.shows(glyph.box):
            yield glyph


def _is_invisible(text: pypdfium2.PdfTextPage, index: int, known: dict[int, bool]) -> bool:
    """Render mode 3 is the text that an OCR program laid over a scan; ours reads the scan itself."""
    handle = pdfium.FPDFText_GetTextObject(text, index)
    if not handle:
        return False
    key = ctypes.cast(handle, ctypes.c_void_p).value or 0
    if key not in known:
        known[key] = pdfium.FPDFTextObj_GetTextRenderMode(handle) in (
            pdfium.FPDF_TEXTRENDERMODE_INVISIBLE,
            pdfium.FPDF_TEXTRENDERMODE_CLIP,
        )
    return known[key]


def _place(text: pypdfium2.PdfTextPage, index: int, character: str, frame: _Frame) -> Glyph | None:
    """The glyph with its box: along the line as its ink, across from descent to ascent."""
    matrix = pdfium.FS_MATRIX()
    if not pdfium.FPDFText_GetMatrix(text, index, matrix):
        return None
    turns = frame.turns(matrix.a, matrix.b)
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    if turns is None or not pdfium.FPDFText_GetCharBox(text, index, left, right, bottom, top):
        return None
    size = pdfium.FPDFText_GetFontSize(text, index) * math.hypot(matrix.c, matrix.d) * frame.scale
    loose = pdfium.FS_RECTF()
    # PDFium gets these boxes wrong for text that is not upright in the file.
    if matrix.a > 0 and matrix.b == 0 and pdfium.FPDFText_GetLooseCharBox(text, index, loose):
        box = frame.box(loose.left, loose.bottom, loose.right, loose.top)
        if box[0] < box[2] and box[1] < box[3]:
            return Glyph(text=character, box=box, size=size, turns=turns)
    ink = frame.box(left.value, bottom.value, right.value, top.value)
    pdfium.FPDFText_GetCharOrigin(text, index, left, bottom)
    origin = frame.place(left.value, bottom.value)
    return Glyph(text=character, box=_from_baseline(ink, origin, size, turns), size=size, turns=turns)


def _from_baseline(ink: _Box, origin: tuple[float, float], size: float, turns: int) -> _Box:
    """Reach across the line from ascent to descent; the ink itself gives the extent along it."""
    low, high = (_DESCENT * size, _ASCENT * size) if turns in (1, 2) else (_ASCENT * size, _DESCENT * size)
    x, y = origin
    if turns in (0, 2):
        return ink[0], y - low, ink[2], y + high
    return x - low, ink[1], x + high, ink[3]


def _picture_share(page: pypdfium2.PdfPage, frame: _Frame) -> float:
    """0..1 of the page under pictures, counted on a coarse grid so that strips of one scan add up."""
    grid = np.zeros((50, 50), bool)
    for picture in page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE]):
        left, bottom, right, top = picture.get_bounds()
        container = picture.container
        while container is not None:
            left, bottom, right, top = container.get_matrix().on_rect(left, bottom, right, top)
            container = container.container
        x0, y0, x1, y1 = frame.box(left, bottom, right, top)
        columns = [min(max(round(x / frame.size[0] * 50), 0), 50) for x in (x0, x1)]
        lines = [min(max(round(y / frame.size[1] * 50), 0), 50) for y in (y0, y1)]
        grid[lines[0] : lines[1], columns[0] : columns[1]] = True
    return float(grid.mean())
