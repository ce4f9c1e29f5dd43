"""Line items and rows of the tax table, from groups of labelled text."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import product

from msgspec import UNSET, UnsetType

from billow.schemas.events import Entity, Group
from billow.schemas.record import Check, Item, Tax
from billow.services.receipt.context import Context
from billow.services.receipt.fields import is_blank, not_readable
from billow.services.receipt.money import (
    Number,
    format_amount,
    format_plain,
    read_amount,
    read_quantity,
    read_rate,
)

_WHAT = {"quantity": "a quantity", "unit_price": "an amount", "amount": "an amount", "discount": "an amount"}
_CENT = Decimal("0.01")


def read_items(groups: Sequence[Group], context: Context) -> tuple[tuple[Item, ...], list[Check]]:
    """One item a group that has anything to read, in order, and a failed check for each number that has not.

    Where a quantity or unit price may be read in several ways (`1.000`, `261 @2`), the one that gives the printed
    amount is taken.
    """
    items: list[Item] = []
    unreadable: list[Check] = []
    for position, group in enumerate(groups, 1):
        item, problems = _read_item(group, context)
        if item is not None:
            items.append(item)
        for key, text in problems:
            check = not_readable(f"item_{key}_is_readable", text, _WHAT[key])
            unreadable.append(Check(name=check.name, passed=False, detail=f"line {position}: {check.detail}"))
    return tuple(items), unreadable


def _read_item(group: Group, context: Context) -> tuple[Item | None, list[tuple[str, str]]]:
    texts = _texts(group, "item.")
    numbers: dict[str, Number] = {}
    problems: list[tuple[str, str]] = []
    for key in _WHAT:
        if key not in texts:
            continue
        read = read_quantity if key == "quantity" else read_amount
        number = read(texts[key], context.money)
        if number is None:
            problems.append((key, texts[key]))
        else:
            numbers[key] = number
    values = _reconcile(numbers)
    name, code = (_text(texts, key) for key in ("name", "code"))
    if not values and name is UNSET and code is UNSET:
        return None, problems
    confidences = [entity.confidence for entity in group.entities]
    certainty = min((number.certainty for number in numbers.values()), default=1.0)
    item = Item(
        name=name,
        quantity=format_plain(values["quantity"]) if "quantity" in values else UNSET,
        unit_price=_money(values, "unit_price", context),
        amount=_money(values, "amount", context),
        discount=_money(values, "discount", context),
        code=code,
        confidence=round(sum(confidences) / len(confidences) * certainty, 4),
        regions=tuple(region for entity in group.entities for region in entity.regions),
    )
    return item, problems


def _text(texts: dict[str, str], key: str) -> str | UnsetType:
    text = " ".join(texts.get(key, "").split()).strip(" ,;:*=|")
    return text if any(c.isalnum() for c in text) else UNSET


def _money(values: dict[str, Decimal], key: str, context: Context) -> str | UnsetType:
    return format_amount(values[key], context.exponent) if key in values else UNSET


def _reconcile(numbers: dict[str, Number]) -> dict[str, Decimal]:
    """Choose among the readings of quantity and price: the first that give the amount, else the likeliest of each."""
    likeliest = {key: number.value for key, number in numbers.items()}
    if not {"quantity", "unit_price", "amount"} <= numbers.keys():
        return likeliest
    for quantity, price in product(numbers["quantity"].readings, numbers["unit_price"].readings):
        if abs(quantity * price - likeliest["amount"]) <= _CENT:
            return likeliest | {"quantity": quantity, "unit_price": price}
    return likeliest


def read_taxes(groups: Sequence[Group], context: Context) -> tuple[tuple[Tax, ...], list[Check]]:
    """One row a group with a rate or an amount in it, in order, and a failed check for what cannot be read."""
    rows: list[Tax] = []
    unreadable: list[Check] = []
    for group in groups:
        texts = _texts(group, "tax.")
        rate = read_rate(texts["rate"]) if "rate" in texts else None
        amount = read_amount(texts["amount"], context.money) if "amount" in texts else None
        if "rate" in texts and rate is None:
            unreadable.append(not_readable("tax_rate_is_readable", texts["rate"], "a rate"))
        if "amount" in texts and amount is None:
            unreadable.append(not_readable("tax_amount_is_readable", texts["amount"], "an amount"))
        if rate is not None or amount is not None:
            rows.append(
                Tax(
                    rate=format_plain(rate) if rate is not None else UNSET,
                    amount=format_amount(amount.value, context.exponent) if amount else UNSET,
                )
            )
    return tuple(rows), unreadable


def _texts(group: Group, prefix: str) -> dict[str, str]:
    """Key -> text; the parts of a name or code are joined, of anything else the surest counts."""
    by_key: dict[str, list[Entity]] = {}
    for entity in group.entities:
        if entity.label.startswith(prefix) and not is_blank(entity.text):
            by_key.setdefault(entity.label.removeprefix(prefix), []).append(entity)
    return {
        key: " ".join(e.text for e in entities)
        if key in ("name", "code")
        else max(entities, key=lambda e: e.confidence).text
        for key, entities in by_key.items()
    }
