"""The numbers of one record, and the sums that a printed document may mean by them."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import product
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from billow.schemas.record import Field, Item, Tax
from billow.services.receipt.context import MONEY_FIELDS, Context
from billow.services.receipt.currencies import CASH_STEPS
from billow.services.receipt.money import format_amount

_OPTIONAL = {"tax": "tax", "service_charge": "service", "tip": "tip", "discount": "discount", "rounding": "rounding"}


class ItemFigures(NamedTuple):
    """One line item as numbers; None for what was not found."""

    quantity: Decimal | None
    unit_price: Decimal | None
    amount: Decimal | None
    discount: Decimal | None


class TaxFigures(NamedTuple):
    """One row of the tax table as numbers; `rate` is a fraction."""

    rate: Decimal | None
    amount: Decimal | None


class Sum(NamedTuple):
    """One way from a base to a total."""

    value: Decimal
    formula: str
    """Readable: `22.25 + 2.11 tax`."""


class Figures(NamedTuple):
    """Everything that can be calculated with."""

    fields: Mapping[str, Decimal]
    """Amounts by the names of fields. `tax` is the sum of the tax table if only that was found."""
    items: tuple[ItemFigures, ...]
    taxes: tuple[TaxFigures, ...]
    exponent: int
    cent: Decimal
    """The smallest amount that is printed."""
    cash: Decimal
    """How far a total may be off because of rounding for cash; at least one `cent`."""

    def show(self, value: Decimal) -> str:
        """As in a field."""
        return format_amount(value, self.exponent)

    def sums(self, base: Decimal) -> Iterator[Sum]:
        """What `base` may add up to, the fullest way first.

        Each of tax, service charge, tip and discount may be in the base already or come on top; a printed rounding
        may have lost its sign.
        """
        choices: list[list[tuple[Decimal, str] | None]] = []
        for name, word in _OPTIONAL.items():
            value = self.fields.get(name)
            if not value:
                continue
            if name == "rounding":
                choices.append([(value, word), (-value, word), None])
            else:
                choices.append([(-abs(value) if name == "discount" else value, word), None])
        for chosen in product(*choices):
            terms = [term for term in chosen if term is not None]
            formula = self.show(base)
            for amount, word in terms:
                formula += f" {'-' if amount < 0 else '+'} {self.show(abs(amount))} {word}"
            yield Sum(base + sum((amount for amount, _ in terms), Decimal(0)), formula)


def read_figures(fields: Mapping[str, Field], items: Sequence[Item], taxes: Sequence[Tax], context: Context) -> Figures:
    """Turn the decimal strings of a record back into numbers."""
    amounts = {name: Decimal(field.value) for name, field in fields.items() if name in MONEY_FIELDS}
    rows = tuple(TaxFigures(_number(row.rate), _number(row.amount)) for row in taxes)
    if "tax" not in amounts and rows and all(row.amount is not None for row in rows):
        amounts["tax"] = sum((row.amount for row in rows if row.amount is not None), Decimal(0))
    cent = Decimal(1).scaleb(-context.exponent)
    step = Decimal(CASH_STEPS.get(context.likely_currency or "", "0"))
    return Figures(
        fields=amounts,
        items=tuple(
            ItemFigures(*(_number(n) for n in (i.quantity, i.unit_price, i.amount, i.discount))) for i in items
        ),
        taxes=rows,
        exponent=context.exponent,
        cent=cent,
        cash=max(cent, step / 2),
    )


def _number(text: str | UnsetType) -> Decimal | None:
    return None if text is UNSET else Decimal(text)
