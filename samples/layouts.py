"""From a receipt to what a thermal printer is told: rows of monospaced text."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from samples import fonts
from samples.content import Item, Receipt, TaxRow

Kind = Literal["text", "bold", "big", "gap", "barcode"]


@dataclass(frozen=True)
class Row:
    """One printed row. `big` text is twice as large, so half as many characters fit."""

    text: str
    kind: Kind = "text"


@dataclass(frozen=True, kw_only=True)
class Printer:
    """A roll width and a face."""

    columns: int
    """Characters a row."""
    dots: int
    """px across the paper at 203 dpi, margins included."""
    face: str
    bold_face: str
    weight: int | None
    """Font axis of the normal face."""
    bold_weight: int | None


PRINTERS: dict[str, Printer] = {
    "cafe": Printer(columns=32, dots=448, face=fonts.PLEX, bold_face=fonts.PLEX_BOLD, weight=None, bold_weight=None),
    "market": Printer(columns=40, dots=576, face=fonts.ROBOTO, bold_face=fonts.ROBOTO, weight=480, bold_weight=700),
    "shop": Printer(columns=42, dots=576, face=fonts.PLEX, bold_face=fonts.PLEX_BOLD, weight=None, bold_weight=None),
}


def rows(receipt: Receipt) -> list[Row]:
    """The rows of the receipt in its style."""
    lay_out = {"cafe": _cafe, "market": _market, "shop": _shop}[receipt.style]
    return lay_out(receipt, PRINTERS[receipt.style].columns)


def _pair(left: str, right: str, width: int) -> str:
    """`left` and `right` at the two margins; at least two blanks apart."""
    return left[: width - len(right) - 2].ljust(width - len(right)) + right


def _centred(texts: tuple[str, ...], width: int) -> list[Row]:
    return [Row(text.center(width).rstrip()) for text in texts]


def _percent(rate: Decimal) -> str:
    """0.095 -> `9.5`, 0.19 -> `19`."""
    return f"{(rate * 100).normalize():f}"


def _cafe(receipt: Receipt, width: int) -> list[Row]:
    rule = Row("-" * width)
    out = [Row(receipt.store_name, "big"), Row("", "gap"), *_centred((*receipt.address, receipt.phone), width)]
    out += [rule, Row(_pair(f"Check: {receipt.number}", f"Table {int(receipt.number) % 20 + 1}", width))]
    out += [Row(_pair(f"{receipt.when:%m/%d/%Y}", f"{receipt.when:%I:%M %p}", width)), rule]
    for item in receipt.items:
        out.append(Row(_pair(f"{item.quantity} {item.name}", f"{item.amount}", width)))
    out += [rule, Row(_pair("Subtotal", f"{receipt.subtotal}", width))]
    out += [Row(_pair(f"Sales Tax {_percent(row.rate)}%", f"{row.amount}", width)) for row in receipt.taxes]
    if receipt.tip is not None:
        out.append(Row(_pair("Tip", f"{receipt.tip:.2f}", width)))
    out += [Row(_pair("TOTAL", f"${receipt.total}", width // 2), "big"), rule]
    out.append(Row(_pair(f"{receipt.payment_method} ************4417", f"{receipt.paid}", width)))
    if receipt.tip is None:
        out += [Row("", "gap"), Row("Tip:   ____________"), Row("", "gap"), Row("Sum:   ____________")]
    return [*out, Row("", "gap"), *_centred(("Thank you!", "See you soon."), width)]


def _euro(value: Decimal) -> str:
    return f"{value:.2f}".replace(".", ",")


def _market_item(item: Item, width: int) -> list[Row]:
    price = f"{_euro(item.amount)} {item.tax_code}"
    if item.unit:
        weight = f"{item.quantity:.3f}".replace(".", ",")
        return [
            Row(item.name),
            Row(_pair(f"  {weight} {item.unit} x {_euro(item.unit_price)} EUR/{item.unit}", price, width)),
        ]
    if item.quantity == 1:
        return [Row(_pair(item.name, price, width))]
    return [Row(item.name), Row(_pair(f"  {item.quantity} Stk x {_euro(item.unit_price)}", price, width))]


def _market_tax(row: TaxRow) -> str:
    gross = row.net + row.amount
    rate = f"{_euro(row.rate * 100)[:-1]}%"
    return f"{row.code} {rate:>7}{_euro(row.net):>10}{_euro(row.amount):>10}{_euro(gross):>11}"


def _market(receipt: Receipt, width: int) -> list[Row]:
    rule = Row("-" * width)
    out = [Row(receipt.store_name, "big"), Row("", "gap")]
    out += _centred((*receipt.address, f"Tel. {receipt.phone}", f"USt-IdNr. {receipt.tax_id}"), width)
    out += [Row("", "gap"), Row("EUR  ".rjust(width))]
    for item in receipt.items:
        out += _market_item(item, width)
    out += [Row("=" * width), Row(_pair("SUMME EUR", _euro(receipt.total), width // 2), "big"), Row("=" * width)]
    out.append(Row(_pair(f"Geg. {receipt.payment_method}", f"EUR {_euro(receipt.paid)}  ", width)))
    if receipt.cash is not None:
        out.append(Row(_pair("Rückgeld", f"EUR {_euro(receipt.change)}  ", width)))
    out += [Row("", "gap"), Row(f"{'MwSt':<9}{'Netto':>10}{'Steuer':>10}{'Brutto':>11}")]
    out += [Row(_market_tax(row)) for row in receipt.taxes]
    out += [rule, Row(_pair(f"Datum {receipt.when:%d.%m.%Y}", f"{receipt.when:%H:%M} Uhr", width))]
    out += [Row(_pair(f"Bon-Nr. {receipt.number}", "Kasse 3", width)), Row("", "gap")]
    out += _centred(("Vielen Dank für Ihren Einkauf!",), width)
    return [*out, Row("", "gap"), Row(receipt.number, "barcode")]


def _shop(receipt: Receipt, width: int) -> list[Row]:
    rule = Row("-" * width)
    out = [Row(receipt.store_name.center(width).rstrip(), "bold")]
    out += _centred((*receipt.address, f"TEL: {receipt.phone}", f"GST ID: {receipt.tax_id}"), width)
    out += [Row("", "gap"), Row("TAX INVOICE".center(width).rstrip(), "bold"), Row("", "gap")]
    out += [Row(f"INVOICE NO : {receipt.number}"), Row(f"DATE       : {receipt.when:%d/%m/%Y %H:%M:%S}"), rule]
    out += [Row(f"{'ITEM':<20}{'QTY':>4}{'PRICE':>8}{'AMOUNT':>10}"), rule]
    for item in receipt.items:
        out.append(Row(item.name))
        out.append(Row(f"{item.code:<20}{item.quantity:>4}{item.unit_price:>8}{item.amount:>10}"))
    count = sum(item.quantity for item in receipt.items)
    out += [rule, Row(_pair(f"TOTAL QTY : {count}", "", width))]
    out.append(Row(_pair("SUB TOTAL (INCL. GST)", f"RM {receipt.subtotal}", width)))
    out.append(Row(_pair("ROUNDING ADJ", f"{receipt.rounding:.2f}", width)))
    out.append(Row(_pair("TOTAL", f"RM {receipt.total}", width), "bold"))
    out.append(Row(_pair(receipt.payment_method, f"RM {receipt.paid:.2f}", width)))
    out += [Row(_pair("CHANGE", f"RM {receipt.change:.2f}", width)), rule]
    out += [Row("GST SUMMARY"), Row(f"{'CODE':<12}{'AMOUNT(RM)':>16}{'TAX(RM)':>14}")]
    for row in receipt.taxes:
        out.append(Row(f"{row.code + ' ' + _percent(row.rate) + '%':<12}{row.net:>16}{row.amount:>14}"))
    return [*out, rule, *_centred(("GOODS SOLD ARE NOT RETURNABLE", "THANK YOU"), width)]
