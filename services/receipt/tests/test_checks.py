from datetime import date
from decimal import Decimal

import pytest
from msgspec import UNSET

from billow.schemas.labels import Kind
from billow.schemas.record import Check, Field, Item, Tax
from billow.services.receipt.checks import run_checks
from billow.services.receipt.context import Context
from billow.services.receipt.dates import DateOrder
from billow.services.receipt.figures import Figures, read_figures
from billow.services.receipt.numerals import Convention

TODAY = date(2026, 6, 15)


def context(currency: str | None = None) -> Context:
    exponent = 0 if currency == "IDR" else 2
    return Context(TODAY, currency, None, currency, Convention("."), exponent, DateOrder("dmy", False), None, None)


def amounts(**values: str) -> dict[str, Field]:
    return {name: Field(value=value, text=value, confidence=1.0) for name, value in values.items()}


def item(amount: str = "", quantity: str = "", unit_price: str = "", discount: str = "") -> Item:
    return Item(
        name="x",
        amount=amount or UNSET,
        quantity=quantity or UNSET,
        unit_price=unit_price or UNSET,
        discount=discount or UNSET,
    )


def check(
    name: str,
    fields: dict[str, Field],
    *,
    items: tuple[Item, ...] = (),
    taxes: tuple[Tax, ...] = (),
    currency: str | None = None,
    kind: Kind = "receipt",
) -> Check:
    figures: Figures = read_figures(fields, items, taxes, context(currency))
    return next(c for c in run_checks(fields, figures, kind=kind, today=TODAY) if c.name == name)


EIGHT, FOURTEEN = item("8.00"), item("14.25")


@pytest.mark.parametrize(
    ("fields", "items", "passed", "detail"),
    [
        (amounts(subtotal="22.25"), (EIGHT, FOURTEEN), True, "22.25 = 22.25"),
        (amounts(subtotal="22.26"), (EIGHT, FOURTEEN), True, "22.25 = 22.26"),
        (amounts(total="22.25"), (EIGHT, FOURTEEN), True, "22.25 = 22.25"),
        (amounts(total="24.36", tax="2.11"), (EIGHT, FOURTEEN), True, "22.25 + 2.11 tax = 24.36"),
        (amounts(subtotal="20.99", tax="1.26", total="22.25"), (EIGHT, FOURTEEN), True, "22.25 = 20.99 + 1.26 tax"),
        (amounts(subtotal="20.25", discount="-2.00"), (EIGHT, FOURTEEN), True, "22.25 = 20.25 + 2.00 discount"),
        (amounts(subtotal="7.00"), (item("8.00", discount="1.00"),), True, "7.00 = 7.00"),
        (amounts(subtotal="16.00"), (item("", "2", "8.00"),), True, "16.00 = 16.00"),
        (
            amounts(subtotal="32.25"),
            (EIGHT, FOURTEEN),
            False,
            "the items add up to 22.25, printed is subtotal 32.25",
        ),
        (amounts(), (EIGHT,), None, "no items, or no total to compare them with"),
        (amounts(subtotal="22.25"), (item(),), None, "no items, or no total to compare them with"),
    ],
)
def test_items_sum_to_subtotal(
    fields: dict[str, Field], items: tuple[Item, ...], passed: bool | None, detail: str
) -> None:
    found = check("items_sum_to_subtotal", fields, items=items)
    assert (found.passed, found.detail) == (passed, detail)


@pytest.mark.parametrize(
    ("fields", "passed", "detail"),
    [
        (amounts(subtotal="22.25", tax="2.11", total="24.36"), True, "22.25 + 2.11 tax = 24.36"),
        (amounts(subtotal="22.25", tax="1.26", total="22.25"), True, "22.25 = 22.25"),
        (
            amounts(subtotal="22.25", tax="2.11", tip="8.90", total="33.26"),
            True,
            "22.25 + 2.11 tax + 8.90 tip = 33.26",
        ),
        (
            amounts(subtotal="100.00", discount="10.00", service_charge="9.00", tax="5.94", total="104.94"),
            True,
            "100.00 + 5.94 tax + 9.00 service - 10.00 discount = 104.94",
        ),
        (amounts(subtotal="9.02", rounding="0.02", total="9.00"), True, "9.02 - 0.02 rounding = 9.00"),
        (amounts(subtotal="22.25", tax="2.11", total="33.26"), False, "22.25 + 2.11 tax = 24.36, printed is 33.26"),
        (amounts(subtotal="22.25", total="33.26"), False, "22.25, printed is 33.26"),
        (amounts(total="33.26"), None, "no subtotal or no total"),
    ],
)
def test_subtotal_tax_to_total(fields: dict[str, Field], passed: bool | None, detail: str) -> None:
    found = check("subtotal_tax_to_total", fields)
    assert (found.passed, found.detail) == (passed, detail)


def test_a_tax_table_stands_in_for_the_tax() -> None:
    taxes = (Tax(rate="0.07", amount="0.70"), Tax(rate="0.19", amount="1.90"))
    found = check("subtotal_tax_to_total", amounts(subtotal="20.00", total="22.60"), taxes=taxes)
    assert (found.passed, found.detail) == (True, "20.00 + 2.60 tax = 22.60")


@pytest.mark.parametrize(
    ("currency", "subtotal", "total", "passed"),
    [
        ("MYR", "9.02", "9.00", True),
        ("USD", "9.02", "9.00", False),
        ("IDR", "110003", "110000", True),
        ("MYR", "9.04", "9.00", False),
    ],
)
def test_rounding_for_cash_is_allowed_where_it_is_custom(
    currency: str, subtotal: str, total: str, passed: bool
) -> None:
    assert check("subtotal_tax_to_total", amounts(subtotal=subtotal, total=total), currency=currency).passed is passed


@pytest.mark.parametrize(
    ("fields", "passed", "detail"),
    [
        (amounts(paid="50.00", change="16.74", total="33.26"), True, "50.00 - 16.74 = 33.26"),
        (amounts(paid="50.00", change="-16.74", total="33.26"), True, "50.00 - 16.74 = 33.26"),
        (amounts(paid="-50.00", change="16.74", total="33.26"), True, "50.00 - 16.74 = 33.26"),
        (amounts(paid="33.26", total="33.26"), True, "33.26 = 33.26"),
        (amounts(paid="40.00", total="33.26", tip="6.74"), True, "40.00 = 40.00"),
        (amounts(paid="33.26", change="16.74", total="33.26"), True, "33.26 = 33.26"),
        (amounts(paid="50.00", total="33.26"), None, "more was paid than due, and no change was found"),
        (amounts(paid="50.00", change="26.74", total="33.26"), False, "50.00 - 26.74, printed is 33.26"),
        (amounts(paid="30.00", total="33.26"), False, "30.00, printed is 33.26"),
        (amounts(total="33.26"), None, "no payment or no total"),
    ],
)
def test_paid_minus_change_is_total(fields: dict[str, Field], passed: bool | None, detail: str) -> None:
    found = check("paid_minus_change_is_total", fields)
    assert (found.passed, found.detail) == (passed, detail)


@pytest.mark.parametrize(
    ("items", "passed", "detail"),
    [
        ((item("16.00", "2", "8.00"), item("3.00")), True, "1 of 1 lines"),
        ((item("5.61", "0.345", "16.25"),), True, "1 of 1 lines"),
        ((item("14.00", "2", "8.00", "2.00"),), True, "1 of 1 lines"),
        ((item("-16.00", "2", "8.00"),), True, "1 of 1 lines"),
        (
            (item("16.00", "2", "8.00"), item("9.00", "2", "4.00")),
            False,
            "line 2: 2 x 4.00 = 8.00, printed is 9.00",
        ),
        ((item("16.00", "2"),), None, "no item has quantity, unit price and amount"),
    ],
)
def test_item_quantity_times_price(items: tuple[Item, ...], passed: bool | None, detail: str) -> None:
    found = check("item_quantity_times_price", {}, items=items)
    assert (found.passed, found.detail) == (passed, detail)


def test_a_unit_price_may_leave_out_the_tax() -> None:
    items = (item("10.60", "1", "10.00"),)
    assert check("item_quantity_times_price", {}, items=items).passed is False
    assert check("item_quantity_times_price", {}, items=items, taxes=(Tax(rate="0.06"),)).passed is True


@pytest.mark.parametrize(
    ("fields", "taxes", "passed"),
    [
        (amounts(subtotal="22.25", total="24.36"), (Tax(rate="0.095", amount="2.11"),), True),
        (amounts(total="22.25"), (Tax(rate="0.06", amount="1.26"),), True),
        (
            amounts(total="22.60", subtotal="20.00"),
            (Tax(rate="0.07", amount="0.70"), Tax(rate="0.19", amount="1.90")),
            True,
        ),
        (amounts(subtotal="22.25", total="22.85"), (Tax(rate="0.06", amount="0.60"),), None),
        (amounts(subtotal="22.25", total="24.36"), (Tax(rate="0.095", amount="7.11"),), False),
        (amounts(subtotal="22.25"), (Tax(rate="0.06"),), None),
        (amounts(), (Tax(rate="0.06", amount="0.60"),), None),
    ],
)
def test_tax_rates_match(fields: dict[str, Field], taxes: tuple[Tax, ...], passed: bool | None) -> None:
    assert check("tax_rates_match", fields, taxes=taxes).passed is passed


@pytest.mark.parametrize(
    ("issued", "passed"), [("2026-06-15", True), ("2026-06-16", True), ("2026-06-17", False), ("2019-04-01", True)]
)
def test_date_not_in_future_allows_for_time_zones(issued: str, passed: bool) -> None:
    assert check("date_not_in_future", amounts(date=issued)).passed is passed


def test_checks_of_an_invoice() -> None:
    fields = amounts(
        date="2026-05-01",
        due_date="2026-04-01",
        total="100.00",
        paid="40.00",
        amount_due="60.00",
        iban="DE88370400440532013000",
    )
    assert check("due_date_not_before_date", fields, kind="invoice").passed is False
    assert check("amount_due_matches_total", fields, kind="invoice").detail == "60.00 = 100.00 - 40.00"
    assert check("iban_valid", fields, kind="invoice").passed is False
    assert check("iban_valid", {}, kind="invoice").passed is None


def test_a_receipt_is_not_asked_for_what_only_invoices_have() -> None:
    names = {c.name for c in run_checks({}, read_figures({}, (), (), context()), kind="receipt", today=TODAY)}
    assert names.isdisjoint({"iban_valid", "due_date_not_before_date", "amount_due_matches_total"})


def test_figures_keep_every_decimal() -> None:
    figures = read_figures(amounts(total="0.1", tax="0.2"), (), (), context())
    assert figures.fields["total"] + figures.fields["tax"] == Decimal("0.3")
