"""What a perfect reader would answer: the values of a record, and every line with its place."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import NotRequired, TypedDict

from samples.content import Item, Receipt

Quad = tuple[float, float, float, float, float, float, float, float]


class TruthLine(TypedDict):
    """One run of text; `quad` in px of the image, absent for a PDF with a text layer."""

    quad: NotRequired[Quad]
    text: str


class TruthTax(TypedDict):
    """One row of the tax table; `rate` is a fraction."""

    rate: str
    amount: str


class Truth(TypedDict):
    """One line of `truth.jsonl`. Values are written as in a record: ISO dates, decimal strings with a dot."""

    id: str
    image: str
    """Path of the file, relative to the truth's folder."""
    width: int
    """px; of a PDF, points"""
    height: int
    kind: str
    language: str
    fields: dict[str, str]
    items: list[dict[str, str]]
    taxes: list[TruthTax]
    lines: list[TruthLine]


def plain(value: Decimal) -> str:
    """A number without superfluous zeros: 0.0950 -> `0.095`, 2 -> `2`."""
    return f"{value.normalize():f}"


def money(value: Decimal) -> str:
    """Two places."""
    return f"{value:.2f}"


PAYMENT_METHODS = {
    "VISA": "visa",
    "MASTERCARD": "mastercard",
    "BAR": "cash",
    "CASH": "cash",
    "girocard": "debit",
}
"""What is printed -> what a record calls it."""


def dialled(phone: str) -> str:
    """A phone number as a record writes it: digits, and a plus if there is one."""
    return re.sub(r"[^\d+]", "", phone)


def receipt_fields(receipt: Receipt) -> dict[str, str]:
    """The fields that are printed in the receipt's layout."""
    fields = {
        "store_name": receipt.store_name,
        "store_address": " ".join(receipt.address),
        "phone": dialled(receipt.phone),
        "date": receipt.when.date().isoformat(),
        "time": f"{receipt.when:%H:%M}",
        "currency": receipt.currency,
        "total": money(receipt.total),
        "paid": money(receipt.paid),
        "payment_method": PAYMENT_METHODS[receipt.payment_method],
    }
    if receipt.style == "cafe":
        fields |= {"subtotal": money(receipt.subtotal), "tax": money(receipt.tax)}
        if receipt.tip is not None:
            fields["tip"] = money(receipt.tip)
    if receipt.style == "shop":
        fields |= {"subtotal": money(receipt.subtotal), "rounding": money(receipt.rounding)}
    if receipt.cash is not None:
        fields["change"] = money(receipt.change)
    if receipt.tax_id:
        fields["seller_tax_id"] = receipt.tax_id
    return fields


def receipt_items(receipt: Receipt) -> list[dict[str, str]]:
    """The line items; a key that is not printed is absent."""
    return [_item(item, receipt) for item in receipt.items]


def _item(item: Item, receipt: Receipt) -> dict[str, str]:
    truth = {"name": item.name, "amount": money(item.amount)}
    if receipt.style in ("cafe", "shop") or item.quantity != 1:
        truth["quantity"] = plain(item.quantity)
    if receipt.style == "shop" or (receipt.style == "market" and item.quantity != 1):
        truth["unit_price"] = money(item.unit_price)
    if item.code:
        truth["code"] = item.code
    return truth


def receipt_taxes(receipt: Receipt) -> list[TruthTax]:
    """The rows of the tax table."""
    return [{"rate": plain(row.rate), "amount": money(row.amount)} for row in receipt.taxes]


def language_of(receipt: Receipt) -> str:
    """ISO 639-1."""
    return "de" if receipt.style == "market" else "en"


def truth_lines(lines: Iterable[tuple[Quad, str]]) -> list[TruthLine]:
    """Lines in reading order."""
    return [{"quad": quad, "text": text} for quad, text in lines]
