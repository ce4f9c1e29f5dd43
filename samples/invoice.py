"""An A4 invoice as PDF with a text layer. Every name, number and account in it is made up."""

# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false

import io
from datetime import date, timedelta
from decimal import Decimal

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from samples.content import Item, cents
from samples.truth import Truth, dialled, money, plain

SELLER = "Harbourlight Studio Ltd"
SELLER_ADDRESS = ("14 Quayside Row", "D99 X999 Dublin", "Ireland")
SELLER_TAX_ID = "IE9999999XX"
SELLER_PHONE = "+353 20 910 1234"
BUYER = "Fjordline Tea GmbH"
BUYER_ADDRESS = ("Speicherweg 8", "29999 Musterhafen", "Germany")
NUMBER = "HL-2025-0117"
ISSUED = date(2025, 5, 12)
DUE = ISSUED + timedelta(days=30)
RATE = Decimal("0.23")
ITEMS = (
    Item(name="Brand guidelines, 24 pages", quantity=Decimal(1), unit_price=Decimal("1480.00")),
    Item(name="Packaging design, loose tea tins", quantity=Decimal(6), unit_price=Decimal("215.00")),
    Item(name="Product photography, half day", quantity=Decimal(2), unit_price=Decimal("390.50")),
    Item(name="Stock image licence", quantity=Decimal(3), unit_price=Decimal("18.90")),
)
_INK = HexColor("#1f2933")
_GREY = HexColor("#66788a")
_ACCENT = HexColor("#1d6f8c")
_LEFT, _RIGHT = 56.0, A4[0] - 56.0


def iban(country: str, account: str) -> str:
    """An IBAN with a valid check, in groups of four (ISO 13616: the rearranged number is 1 modulo 97)."""
    digits = "".join(str(int(character, 36)) for character in f"{account}{country}00")
    number = f"{country}{98 - int(digits) % 97:02d}{account}"
    return " ".join(number[start : start + 4] for start in range(0, len(number), 4))


IBAN = iban("IE", "ZZZZ99999912345678")
SUBTOTAL = sum((item.amount for item in ITEMS), Decimal())
TAX = cents(SUBTOTAL * RATE)
TOTAL = SUBTOTAL + TAX


def _long_date(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _amount(value: Decimal) -> str:
    return f"{value:,.2f}"


class _Sheet:
    """One page that remembers what was written on it, in reading order."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._canvas = Canvas(self._out, pagesize=A4, invariant=1)
        self._canvas.setTitle(f"Invoice {NUMBER}")
        self._canvas.setAuthor(SELLER)
        self.texts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 9.5,
        bold: bool = False,
        colour: Color = _INK,
        right: bool = False,
    ) -> None:
        """Write at points from the left and from the top; `right` ends at `x`."""
        self._canvas.setFont("Helvetica-Bold" if bold else "Helvetica", size)
        self._canvas.setFillColor(colour)
        write = self._canvas.drawRightString if right else self._canvas.drawString
        write(x, A4[1] - y, text)
        self.texts.append(text)

    def rule(self, y: float, colour: Color = _GREY, width: float = 0.5) -> None:
        """A line across the page."""
        self._canvas.setStrokeColor(colour)
        self._canvas.setLineWidth(width)
        self._canvas.line(_LEFT, A4[1] - y, _RIGHT, A4[1] - y)

    def logo(self) -> None:
        """A lighthouse of three shapes."""
        self._canvas.setFillColor(_ACCENT)
        self._canvas.rect(_LEFT, A4[1] - 92, 8, 26, stroke=0, fill=1)
        self._canvas.circle(_LEFT + 4, A4[1] - 60, 5, stroke=0, fill=1)
        self._canvas.rect(_LEFT - 4, A4[1] - 94, 16, 2.5, stroke=0, fill=1)

    def close(self) -> bytes:
        """The finished file."""
        self._canvas.showPage()
        self._canvas.save()
        return self._out.getvalue()


def render_invoice() -> tuple[bytes, Truth]:
    """The PDF and its truth; the same bytes every time. The truth's lines have no quads: the page has a text layer."""
    sheet = _Sheet()
    _head(sheet)
    y = _table(sheet, 300)
    y = _totals(sheet, y + 8)
    _payment(sheet, y + 40)
    pdf = sheet.close()
    return pdf, _truth(sheet.texts)


def _head(sheet: _Sheet) -> None:
    sheet.logo()
    sheet.text(_LEFT + 24, 74, SELLER, size=15, bold=True)
    sheet.text(_LEFT + 24, 90, ", ".join(SELLER_ADDRESS), colour=_GREY)
    sheet.text(_LEFT + 24, 103, f"Phone {SELLER_PHONE}", colour=_GREY)
    sheet.text(_LEFT + 24, 116, f"VAT ID {SELLER_TAX_ID}", colour=_GREY)
    sheet.text(_RIGHT, 78, "INVOICE", size=22, bold=True, colour=_ACCENT, right=True)
    sheet.rule(136, _ACCENT, 1.2)
    sheet.text(_LEFT, 166, "Bill to", bold=True, colour=_GREY)
    sheet.text(_LEFT, 182, BUYER, size=11, bold=True)
    for index, line in enumerate(BUYER_ADDRESS):
        sheet.text(_LEFT, 197 + 13 * index, line)
    facts = (
        ("Invoice number", NUMBER),
        ("Invoice date", _long_date(ISSUED)),
        ("Due date", _long_date(DUE)),
        ("Currency", "EUR"),
    )
    for index, (label, value) in enumerate(facts):
        sheet.text(350, 182 + 15 * index, label, colour=_GREY)
        sheet.text(_RIGHT, 182 + 15 * index, value, bold=index == 0, right=True)


def _table(sheet: _Sheet, y: float) -> float:
    """The line items; returns where they end."""
    columns = (330.0, 380.0, 455.0, _RIGHT)
    sheet.text(_LEFT, y, "Description", bold=True)
    for x, label in zip(columns, ("Qty", "VAT", "Unit price", "Amount"), strict=True):
        sheet.text(x, y, label, bold=True, right=True)
    y += 8
    sheet.rule(y, _INK, 0.8)
    for item in ITEMS:
        y += 20
        sheet.text(_LEFT, y, item.name)
        values = (plain(item.quantity), f"{plain(RATE * 100)}%", _amount(item.unit_price), _amount(item.amount))
        for x, value in zip(columns, values, strict=True):
            sheet.text(x, y, value, right=True)
        sheet.rule(y + 7)
    return y + 7


def _totals(sheet: _Sheet, y: float) -> float:
    """Subtotal, VAT, total; returns where they end."""
    lines = (
        ("Subtotal", _amount(SUBTOTAL), False),
        (f"VAT {plain(RATE * 100)}%", _amount(TAX), False),
        ("Total", f"EUR {_amount(TOTAL)}", True),
        ("Amount due", f"EUR {_amount(TOTAL)}", True),
    )
    for label, value, strong in lines:
        y += 17
        sheet.text(380, y, label, bold=strong, size=10.5 if strong else 9.5)
        sheet.text(_RIGHT, y, value, bold=strong, size=10.5 if strong else 9.5, right=True)
    return y


def _payment(sheet: _Sheet, y: float) -> None:
    sheet.text(_LEFT, y, "Payment", bold=True, colour=_GREY)
    sheet.text(_LEFT, y + 16, f"Please pay by bank transfer until {_long_date(DUE)} and quote {NUMBER}.")
    for index, (label, value) in enumerate((("Account holder", SELLER), ("IBAN", IBAN), ("BIC", "ZZZZIE99"))):
        sheet.text(_LEFT, y + 36 + 14 * index, label, colour=_GREY)
        sheet.text(_LEFT + 90, y + 36 + 14 * index, value)
    sheet.rule(A4[1] - 62)
    sheet.text(_LEFT, A4[1] - 48, f"{SELLER} is a made-up company. Thank you for your order.", size=8, colour=_GREY)


def _truth(texts: list[str]) -> Truth:
    fields = {
        "store_name": SELLER,
        "store_address": " ".join(SELLER_ADDRESS),
        "phone": dialled(SELLER_PHONE),
        "date": ISSUED.isoformat(),
        "currency": "EUR",
        "subtotal": money(SUBTOTAL),
        "tax": money(TAX),
        "total": money(TOTAL),
        "payment_method": "bank-transfer",
        "invoice_number": NUMBER,
        "due_date": DUE.isoformat(),
        "seller_tax_id": SELLER_TAX_ID,
        "buyer_name": BUYER,
        "buyer_address": " ".join(BUYER_ADDRESS),
        "amount_due": money(TOTAL),
        "iban": IBAN.replace(" ", ""),
    }
    items = [
        {
            "name": item.name,
            "quantity": plain(item.quantity),
            "unit_price": money(item.unit_price),
            "amount": money(item.amount),
        }
        for item in ITEMS
    ]
    return {
        "id": "invoice",
        "image": "invoice.pdf",
        "width": round(A4[0]),
        "height": round(A4[1]),
        "kind": "invoice",
        "language": "en",
        "fields": fields,
        "items": items,
        "taxes": [{"rate": plain(RATE), "amount": money(TAX)}],
        "lines": [{"text": text} for text in texts],
    }
