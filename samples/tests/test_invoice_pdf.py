# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import pypdfium2

from samples.generate import HERE
from samples.invoice import render_invoice


def text_of(data: bytes) -> str:
    document = pypdfium2.PdfDocument(data)
    try:
        assert len(document) == 1
        return str(document[0].get_textpage().get_text_bounded())
    finally:
        document.close()


def test_the_text_layer_holds_every_line_of_the_truth() -> None:
    data, truth = render_invoice()
    text = text_of(data)
    assert [line["text"] for line in truth["lines"] if line["text"] not in text] == []


def test_the_invoice_is_the_same_every_time() -> None:
    assert render_invoice() == render_invoice()


def test_the_kept_invoice_says_what_the_generator_says() -> None:
    assert text_of((HERE / "invoice.pdf").read_bytes()) == text_of(render_invoice()[0])
