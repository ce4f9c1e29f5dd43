"""Arithmetic between the fields of one record: each check says whether it holds, and with which numbers.

Documents disagree on what a subtotal contains (tax, discounts, service), so a check passes if any of the usual
readings holds. A check never changes a value.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal

from billow.schemas.labels import Kind
from billow.schemas.record import Check, Field
from billow.services.receipt.figures import Figures, ItemFigures
from billow.services.receipt.identifiers import is_iban

TOTAL_CHECKS = frozenset({"items_sum_to_subtotal", "subtotal_tax_to_total", "paid_minus_change_is_total"})
"""Checks that confirm or doubt the total."""


def run_checks(fields: Mapping[str, Field], figures: Figures, *, kind: Kind | None, today: date) -> tuple[Check, ...]:
    """All checks of a receipt, and those of an invoice if it is one or has what they need."""
    checks = [
        items_sum_to_subtotal(figures),
        subtotal_tax_to_total(figures),
        paid_minus_change_is_total(figures),
        item_quantity_times_price(figures),
        tax_rates_match(figures),
        date_not_in_future(fields, today),
    ]
    extra = (amount_due_matches_total(figures), due_date_not_before_date(fields), iban_valid(fields))
    checks += [check for check in extra if kind == "invoice" or check.passed is not None]
    return tuple(checks)


def items_sum_to_subtotal(figures: Figures) -> Check:
    """The items add up to the subtotal, or with tax and the like to the total."""
    name = "items_sum_to_subtotal"
    amounts = [amount for item in figures.items if (amount := _line_amount(item)) is not None]
    subtotal, total = figures.fields.get("subtotal"), figures.fields.get("total")
    if not amounts or (subtotal is None and total is None):
        return Check(name=name, passed=None, detail="no items, or no total to compare them with")
    gross = sum(amounts, Decimal(0))
    reduced = gross - sum((abs(item.discount) for item in figures.items if item.discount), Decimal(0))
    for items in dict.fromkeys((gross, reduced)):
        if subtotal is not None:
            for value, formula in _subtotal_meanings(figures, subtotal):
                if abs(items - value) <= figures.cent:
                    return Check(name=name, passed=True, detail=f"{figures.show(items)} = {formula}")
        if total is not None:
            for value, formula in figures.sums(items):
                if abs(value - total) <= figures.cash:
                    return Check(name=name, passed=True, detail=f"{formula} = {figures.show(total)}")
    printed = f"subtotal {figures.show(subtotal)}" if subtotal is not None else f"total {figures.show(total or gross)}"
    return Check(name=name, passed=False, detail=f"the items add up to {figures.show(gross)}, printed is {printed}")


def _line_amount(item: ItemFigures) -> Decimal | None:
    if item.amount is not None:
        return item.amount
    if item.unit_price is None:
        return None
    return item.unit_price * (item.quantity if item.quantity is not None else 1)


def _subtotal_meanings(figures: Figures, subtotal: Decimal) -> list[tuple[Decimal, str]]:
    """What the items may come to: the subtotal, or before a discount, or with the tax that it leaves out."""
    meanings = [(subtotal, figures.show(subtotal))]
    if discount := figures.fields.get("discount"):
        shown = f"{figures.show(subtotal)} + {figures.show(abs(discount))} discount"
        meanings.append((subtotal + abs(discount), shown))
    if tax := figures.fields.get("tax"):
        meanings.append((subtotal + tax, f"{figures.show(subtotal)} + {figures.show(tax)} tax"))
    return meanings


def subtotal_tax_to_total(figures: Figures) -> Check:
    """Subtotal, tax, service charge, tip, discount and rounding add up to the total."""
    name = "subtotal_tax_to_total"
    subtotal, total = figures.fields.get("subtotal"), figures.fields.get("total")
    if subtotal is None or total is None:
        return Check(name=name, passed=None, detail="no subtotal or no total")
    sums = list(figures.sums(subtotal))
    for value, formula in sums:
        if abs(value - total) <= figures.cash:
            return Check(name=name, passed=True, detail=f"{formula} = {figures.show(total)}")
    value, formula = sums[0]
    reached = "" if formula == figures.show(value) else f" = {figures.show(value)}"
    return Check(name=name, passed=False, detail=f"{formula}{reached}, printed is {figures.show(total)}")


def paid_minus_change_is_total(figures: Figures) -> Check:
    """What was given less what was given back is the total, with or without tip and rounding."""
    name = "paid_minus_change_is_total"
    paid, total = figures.fields.get("paid"), figures.fields.get("total", figures.fields.get("amount_due"))
    if paid is None or total is None:
        return Check(name=name, passed=None, detail="no payment or no total")
    change = figures.fields.get("change")
    # Some tills print what was paid as a deduction.
    paid = abs(paid) if total > 0 else paid
    given = paid - abs(change or Decimal(0))
    formula = f"{figures.show(paid)} - {figures.show(abs(change))}" if change else figures.show(paid)
    rounding, tip = (figures.fields.get(key, Decimal(0)) for key in ("rounding", "tip"))
    for target in (total, total + tip, total + rounding, total - rounding, total + tip + rounding):
        if abs(given - target) <= figures.cash:
            return Check(name=name, passed=True, detail=f"{formula} = {figures.show(target)}")
    if abs(paid - total) <= figures.cash:
        # Some tills print what they kept, not what they were given.
        return Check(name=name, passed=True, detail=f"{figures.show(paid)} = {figures.show(total)}")
    if change is None and paid > total:
        return Check(name=name, passed=None, detail="more was paid than due, and no change was found")
    return Check(name=name, passed=False, detail=f"{formula}, printed is {figures.show(total)}")


def item_quantity_times_price(figures: Figures) -> Check:
    """For each item that has all three, quantity times unit price is the amount, before or after discount or tax."""
    name = "item_quantity_times_price"
    wrong: list[str] = []
    checked = 0
    for line, item in enumerate(figures.items, 1):
        if item.quantity is None or item.unit_price is None or item.amount is None:
            continue
        checked += 1
        product = item.quantity * item.unit_price
        if not _is_line_product(figures, item, product):
            wrong.append(
                f"line {line}: {item.quantity} x {figures.show(item.unit_price)} = {figures.show(product)},"
                f" printed is {figures.show(item.amount)}"
            )
    if not checked:
        return Check(name=name, passed=None, detail="no item has quantity, unit price and amount")
    return Check(name=name, passed=not wrong, detail="; ".join(wrong) or f"{checked} of {checked} lines")


def _is_line_product(figures: Figures, item: ItemFigures, product: Decimal) -> bool:
    quantity, price, amount = item.quantity or Decimal(0), item.unit_price or Decimal(0), item.amount or Decimal(0)
    # Printed factors are rounded: half of their last place is carried into the product.
    slack = abs(quantity) * _half_place(price) + (abs(price) * _half_place(quantity) if quantity % 1 else 0)
    tolerance = max(figures.cent, slack)
    factors = [Decimal(1), *(1 + row.rate for row in figures.taxes if row.rate)]
    targets = [product * factor for factor in factors]
    if item.discount:
        targets += [target - abs(item.discount) for target in targets]
    # A return shows its sign at the quantity, at the amount or at both.
    return any(abs(abs(target) - abs(amount)) <= tolerance for target in targets)


def _half_place(value: Decimal) -> Decimal:
    exponent = value.as_tuple().exponent
    return Decimal(5).scaleb(min(exponent, 0) - 1) if isinstance(exponent, int) else Decimal(0)


def tax_rates_match(figures: Figures) -> Check:
    """The amounts of the tax table are what their rates make of the net or gross sum, or of a part of it."""
    name = "tax_rates_match"
    rows = [(row.rate, row.amount) for row in figures.taxes if row.rate and row.amount is not None]
    bases = _tax_bases(figures)
    if not rows or not bases:
        return Check(name=name, passed=None, detail="no rate with an amount, or no sum to apply it to")
    if len(rows) == 1:
        rate, amount = rows[0]
        for base, factor, formula in ((b, f, t) for b in bases for f, t in _rate_factors(rate)):
            if abs(base * factor - amount) <= figures.cent:
                return Check(
                    name=name, passed=True, detail=f"{figures.show(base)} x {formula} = {figures.show(amount)}"
                )
    implied = sum((abs(amount) / rate for rate, amount in rows), Decimal(0))
    slack = sum((figures.cent / rate for rate, _ in rows), Decimal(0))
    largest = max(abs(base) for base in bases)
    detail = f"the taxes belong to {figures.show(implied.quantize(figures.cent))}, printed is {figures.show(largest)}"
    if implied > largest + slack:
        return Check(name=name, passed=False, detail=detail)
    net = figures.fields.get("total", largest) - figures.fields.get("tax", Decimal(0))
    is_whole = any(abs(implied - abs(base)) <= slack for base in (*bases, net))
    return Check(name=name, passed=True if is_whole else None, detail=detail)


def _tax_bases(figures: Figures) -> list[Decimal]:
    """Sums that a rate may apply to, the likeliest first."""
    get = figures.fields.get
    tax, discount, service = (get(key, Decimal(0)) for key in ("tax", "discount", "service_charge"))
    bases: list[Decimal] = []
    if (subtotal := get("subtotal")) is not None:
        bases += [subtotal, subtotal - abs(discount), subtotal + service, subtotal - abs(discount) + service]
    if (total := get("total")) is not None:
        bases += [total - tax, total]
    return list(dict.fromkeys(bases))


def _rate_factors(rate: Decimal) -> tuple[tuple[Decimal, str], tuple[Decimal, str]]:
    percent = f"{(rate * 100).normalize():f} %"
    return (rate, percent), (rate / (1 + rate), f"{percent} included")


def date_not_in_future(fields: Mapping[str, Field], today: date) -> Check:
    """The document was not issued after `today`; one day is allowed for time zones."""
    name = "date_not_in_future"
    if (issued := _day(fields, "date")) is None:
        return Check(name=name, passed=None, detail="no date")
    passed = issued <= today + timedelta(days=1)
    return Check(name=name, passed=passed, detail=f"{issued} {'<=' if passed else '>'} {today}")


def due_date_not_before_date(fields: Mapping[str, Field]) -> Check:
    """An invoice is due on its own day at the earliest."""
    name = "due_date_not_before_date"
    issued, due = _day(fields, "date"), _day(fields, "due_date")
    if issued is None or due is None:
        return Check(name=name, passed=None, detail="no date or no due date")
    return Check(name=name, passed=issued <= due, detail=f"{due} {'>=' if issued <= due else '<'} {issued}")


def _day(fields: Mapping[str, Field], name: str) -> date | None:
    return date.fromisoformat(fields[name].value) if name in fields else None


def amount_due_matches_total(figures: Figures) -> Check:
    """The amount due is the total, or what of it is not yet paid."""
    name = "amount_due_matches_total"
    due, total = figures.fields.get("amount_due"), figures.fields.get("total")
    if due is None or total is None:
        return Check(name=name, passed=None, detail="no amount due or no total")
    paid = figures.fields.get("paid", Decimal(0))
    for target, formula in (
        (total, figures.show(total)),
        (total - paid, f"{figures.show(total)} - {figures.show(paid)}"),
    ):
        if abs(due - target) <= figures.cash:
            return Check(name=name, passed=True, detail=f"{figures.show(due)} = {formula}")
    return Check(name=name, passed=False, detail=f"{figures.show(due)} is due of {figures.show(total)}")


def iban_valid(fields: Mapping[str, Field]) -> Check:
    """The check sum of the IBAN is right."""
    name = "iban_valid"
    if "iban" not in fields:
        return Check(name=name, passed=None, detail="no IBAN")
    passed = is_iban(fields["iban"].value)
    return Check(name=name, passed=passed, detail="check sum" if passed else "the check sum is wrong")
