from decimal import Decimal

import pytest

from samples import invoice
from samples.content import Receipt
from samples.generate import truths
from samples.invent import STYLES, invent
from samples.receipts import render_receipt
from samples.showcase import SHOWPIECES
from samples.truth import Truth, dialled, receipt_fields


def check_sums(receipt: Receipt) -> None:
    assert sum(item.amount for item in receipt.items) == receipt.subtotal
    on_top = Decimal() if receipt.tax_included else receipt.tax
    assert receipt.subtotal + on_top + (receipt.tip or 0) + receipt.rounding == receipt.total
    assert receipt.total % receipt.cash_step == 0
    assert receipt.paid - receipt.change == receipt.total
    assert receipt.change >= 0
    if receipt.tax_included:
        assert sum(row.net + row.amount for row in receipt.taxes) == receipt.items_sum


@pytest.mark.parametrize("seed", range(60))
def test_amounts_of_an_invented_receipt_add_up(seed: int) -> None:
    check_sums(invent(seed))


@pytest.mark.parametrize("piece", SHOWPIECES, ids=lambda piece: piece.name)
def test_amounts_of_a_kept_receipt_add_up(piece: object) -> None:
    check_sums(next(p.receipt for p in SHOWPIECES if p is piece))


def test_styles_take_turns_and_can_be_asked_for() -> None:
    assert [invent(seed).style for seed in range(3)] == list(STYLES)
    assert invent(0, "shop").style == "shop"


def test_cash_rounding_is_to_five_sen() -> None:
    roundings = {invent(seed, "shop").rounding for seed in range(40)}
    assert len(roundings) > 1
    assert max(abs(value) for value in roundings) <= Decimal("0.02")


def as_printed(truth: Truth, name: str) -> set[str]:
    value = truth["fields"][name]
    return {value, value.replace(".", ","), f"{Decimal(value):,.2f}"}


def printed(truth: Truth) -> str:
    return " ".join(line["text"] for line in truth["lines"])


MONEY = ("subtotal", "tax", "tip", "rounding", "total", "paid", "change", "amount_due")


@pytest.mark.parametrize("truth", [*truths(), *(render_receipt(seed)[1] for seed in range(9))], ids=lambda t: t["id"])
def test_every_value_of_the_truth_stands_on_the_document(truth: Truth) -> None:
    text = printed(truth)
    fields = truth["fields"]
    for name in set(MONEY) & set(fields):
        assert any(form in text for form in as_printed(truth, name)), name
    for name in ("store_name", "seller_tax_id", "buyer_name", "invoice_number"):
        assert fields.get(name, "") in text, name
    assert fields["phone"] in dialled(text)
    for item in truth["items"]:
        assert item["name"] in text


def test_truth_values_are_normalised() -> None:
    fields = receipt_fields(SHOWPIECES[0].receipt)
    assert fields["date"] == "2025-04-18"
    assert fields["time"] == "10:42"
    assert (fields["subtotal"], fields["tax"], fields["tip"], fields["total"]) == ("36.40", "3.46", "7.00", "46.86")


def test_iban_of_the_invoice_passes_the_check() -> None:
    number = invoice.IBAN.replace(" ", "")
    assert len(number) == 22
    assert int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1


def test_iban_agrees_with_the_example_of_the_standard() -> None:
    assert invoice.iban("GB", "WEST12345698765432") == "GB82 WEST 1234 5698 7654 32"
