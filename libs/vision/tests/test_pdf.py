"""A PDF page brings its own text where that can be believed, and is drawn for OCR where not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from billow.vision.arrays import Image, as_image
from billow.vision.document import open_document
from billow.vision.media import Limits

MakePdf = Callable[..., bytes]

INVOICE = [
    (72, 720, "ACME Stationery Ltd"),
    (72, 700, "12 Harbour Street, Galway"),
    (72, 640, "Invoice number: 2024-117"),
    (72, 600, "Blue folder"),
    (400, 600, "14.50"),
    (72, 580, "Total"),
    (400, 580, "14.50"),
]


def text(lines: list[tuple[int, int, str]], mode: int = 0) -> str:
    return "".join(f"BT {mode} Tr /F1 12 Tf 1 0 0 1 {x} {y} Tm ({words}) Tj ET\n" for x, y, words in lines)


def ink_box(image: Image, low: int = 128) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(image.min(axis=2) < low)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_its_own_text_replaces_ocr(make_pdf: MakePdf) -> None:
    with open_document(make_pdf([text(INVOICE)])) as document:
        page = document.page(0)
        assert (page.page.width, page.page.height, page.page.dpi) == (1700, 2200, 200.0)
        assert page.encoded is None
        assert page.text_lines is not None
        assert [line.text for line in page.text_lines] == [words for _, _, words in INVOICE]
        assert {line.confidence for line in page.text_lines} == {1.0}


@pytest.mark.parametrize("extra", ["", "/Rotate 90", "/Rotate 180", "/Rotate 270", "/CropBox [50 100 500 760]"])
def test_quads_lie_on_the_ink(make_pdf: MakePdf, extra: str) -> None:
    content = text([(100, 400, "EVERY LETTER OF THIS LINE STANDS IN ITS QUAD")])
    with open_document(make_pdf([content], extra=extra)) as document:
        page = document.page(0)
        assert page.image.shape == (page.page.height, page.page.width, 3)
        assert page.text_lines is not None
        (line,) = page.text_lines
        left, top, right, bottom = ink_box(page.image)
        xs, ys = line.quad[::2], line.quad[1::2]
        assert min(xs) - 2 <= left
        assert right <= max(xs) + 2
        assert min(ys) - 2 <= top
        assert bottom <= max(ys) + 2
        assert (max(xs) - min(xs)) * (max(ys) - min(ys)) < 2 * (right - left) * (bottom - top)


@pytest.mark.parametrize(
    ("extra", "corner"), [("", "lt"), ("/Rotate 90", "rt"), ("/Rotate 180", "rb"), ("/Rotate 270", "lb")]
)
def test_the_first_corner_is_the_texts_own_top_left(make_pdf: MakePdf, extra: str, corner: str) -> None:
    with open_document(make_pdf([text([(100, 400, "READ ME FROM THE LEFT TO THE RIGHT")])], extra=extra)) as document:
        lines = document.page(0).text_lines
    assert lines is not None
    quad = lines[0].quad
    x, y = quad[0], quad[1]
    assert x == (min if corner[0] == "l" else max)(quad[::2])
    assert y == (min if corner[1] == "t" else max)(quad[1::2])


def test_text_that_runs_up_the_page_is_one_line(make_pdf: MakePdf) -> None:
    upwards = "BT /F1 12 Tf 0 1 -1 0 40 300 Tm (Printed by the friendly machine) Tj ET\n"
    with open_document(make_pdf([text(INVOICE) + upwards])) as document:
        lines = document.page(0).text_lines
    assert lines is not None
    (line,) = [line for line in lines if line.text == "Printed by the friendly machine"]
    x1, y1, x2, y2 = line.quad[:4]
    assert x1 == x2
    assert y1 > y2


def test_invisible_text_over_a_scan_is_not_believed(make_pdf: MakePdf) -> None:
    with open_document(make_pdf([text(INVOICE * 10, mode=3)])) as document:
        assert document.page(0).text_lines is None


def test_a_footer_under_a_scan_is_not_the_page(make_pdf: MakePdf, photo: Image) -> None:
    scan = "q 612 0 0 792 0 0 cm /Im0 Do Q\n"
    footer = text([(72, 40, "Scanned with the very best scanner application of them all")])
    with open_document(make_pdf([scan + footer], picture=photo)) as document:
        page = document.page(0)
        assert page.text_lines is None
        assert page.image[100, 100].tolist() == photo[0, 0].tolist()


def test_a_scan_in_strips_is_still_a_scan(make_pdf: MakePdf, photo: Image) -> None:
    strips = "".join(f"q 612 0 0 99 0 {99 * i} cm /Im0 Do Q\n" for i in range(8))
    footer = text([(72, 40, "Scanned with the very best scanner application of them all")])
    with open_document(make_pdf([strips + footer], picture=photo)) as document:
        assert document.page(0).text_lines is None


def test_a_full_text_on_a_background_picture_is_believed(make_pdf: MakePdf, photo: Image) -> None:
    paper = "q 612 0 0 792 0 0 cm /Im0 Do Q\n"
    lines = [(72, 740 - 20 * i, f"{i} pieces of the thing with the long name") for i in range(30)]
    with open_document(make_pdf([paper + text(lines)], picture=photo)) as document:
        found = document.page(0).text_lines
    assert found is not None
    assert [line.text for line in found] == [words for _, _, words in lines]


def test_a_blank_page_has_no_text_and_no_ink(make_pdf: MakePdf) -> None:
    with open_document(make_pdf([""])) as document:
        page = document.page(0)
        assert page.text_lines is None
        assert page.image.min() == 255


def test_a_huge_page_is_drawn_at_a_lower_dpi(make_pdf: MakePdf) -> None:
    with open_document(make_pdf([""], media_box="0 0 14400 14400"), Limits(pdf_max_pixels=1_000_000)) as document:
        page = document.page(0)
        assert page.page.dpi == pytest.approx(5.0)
        assert page.image.shape == (page.page.height, page.page.width, 3)
        assert 990_000 < page.page.width * page.page.height < 1_010_000


def test_every_page_says_its_number(make_pdf: MakePdf) -> None:
    with open_document(make_pdf([text(INVOICE), text(INVOICE)])) as document:
        pages = list(document)
    numbers = [{line.page for line in page.text_lines or ()} for page in pages]
    assert numbers == [{0}, {1}]


def test_a_page_is_drawn_only_when_looked_at(make_pdf: MakePdf, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    blank = as_image(np.full((2200, 1700, 3), 255, np.uint8))

    def render(self: object, index: int, dpi: float, size: tuple[int, int]) -> Image:
        drawn.append(index)
        return blank

    monkeypatch.setattr("billow.vision.pdf.PdfFile.render", render)
    with open_document(make_pdf([text(INVOICE)])) as document:
        page = document.page(0)
        assert page.text_lines
        assert drawn == []
        assert page.image is page.image
        assert drawn == [0]


def test_threads_may_read_at_once(make_pdf: MakePdf) -> None:
    data = make_pdf([text(INVOICE), text(INVOICE)])
    limits = Limits(pdf_dpi=72)

    def read(_: int) -> list[str]:
        with open_document(data, limits) as document:
            return [line.text for page in document for line in page.text_lines or () if page.image.min() < 128]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(read, range(12)))
    assert results == [[words for _, _, words in INVOICE] * 2] * 12


def test_what_was_typed_into_a_form_is_read_and_drawn(make_pdf: MakePdf) -> None:
    field = "/Annots [<< /Type /Annot /Subtype /Widget /FT /Tx /F 4 /Rect [300 500 500 520] /AP << /N 5 0 R >> >>]"
    typed = "BT /F1 12 Tf 2 4 Td (Paid in cash) Tj ET"
    with open_document(make_pdf([text(INVOICE)], extra=field, stamp=typed)) as document:
        page = document.page(0)
    assert page.text_lines is not None
    (line,) = [line for line in page.text_lines if line.text == "Paid in cash"]
    assert line.quad[0] == pytest.approx(302 / 72 * 200, abs=2)


def test_a_watermark_is_no_line(make_pdf: MakePdf) -> None:
    watermark = "BT /F1 80 Tf 0.7 0.7 -0.7 0.7 150 200 Tm (DRAFT) Tj ET\n"
    with open_document(make_pdf([watermark + text(INVOICE)])) as document:
        lines = document.page(0).text_lines
    assert lines is not None
    assert [line.text for line in lines] == [words for _, _, words in INVOICE]
