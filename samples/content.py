"""What stands on a receipt: amounts that add up, invented by a seeded generator or written by hand."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

Style = Literal["cafe", "market", "shop"]
CENT = Decimal("0.01")


def cents(value: Decimal) -> Decimal:
    """Round half up to two places, as a till does."""
    return value.quantize(CENT, ROUND_HALF_UP)


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line item; `amount` = `quantity` x `unit_price`, rounded to a cent."""

    name: str
    quantity: Decimal
    unit_price: Decimal
    tax_code: str = ""
    """Letter that links the item to a row of the tax table, if the layout prints one."""
    unit: str = ""
    """`kg` for weighed goods, else empty."""
    code: str = ""

    @property
    def amount(self) -> Decimal:
        """Price of the line."""
        return cents(self.quantity * self.unit_price)


@dataclass(frozen=True, kw_only=True)
class TaxRow:
    """One row of the tax table."""

    code: str
    rate: Decimal
    """Fraction: 0.095 is 9.5 %."""
    net: Decimal
    amount: Decimal


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """One purchase. `total` is what the customer owes, `paid` what was handed over."""

    style: Style
    store_name: str
    address: tuple[str, ...]
    """Lines as printed."""
    phone: str
    when: datetime
    """Local time of the till, without a zone."""
    number: str
    items: tuple[Item, ...]
    taxes: tuple[TaxRow, ...]
    tax_included: bool
    """True where prices contain the tax."""
    payment_method: str
    currency: str
    """ISO 4217."""
    tax_id: str = ""
    tip: Decimal | None = None
    cash_step: Decimal = CENT
    """The total is rounded to a multiple of this when paid in cash."""
    cash: Decimal | None = None
    """What was handed over in cash; None for a card."""

    @property
    def items_sum(self) -> Decimal:
        """Sum over the items."""
        return sum((item.amount for item in self.items), Decimal())

    @property
    def tax(self) -> Decimal:
        """Sum over the tax table."""
        return sum((row.amount for row in self.taxes), Decimal())

    @property
    def subtotal(self) -> Decimal:
        """What the items cost, without a tax that comes on top."""
        return self.items_sum

    @property
    def unrounded(self) -> Decimal:
        """Total before cash rounding."""
        return self.items_sum + (Decimal() if self.tax_included else self.tax) + (self.tip or Decimal())

    @property
    def total(self) -> Decimal:
        """What the customer owes."""
        steps = (self.unrounded / self.cash_step).quantize(Decimal(1), ROUND_HALF_UP)
        return cents(steps * self.cash_step)

    @property
    def rounding(self) -> Decimal:
        """`total` less `unrounded`."""
        return self.total - self.unrounded

    @property
    def paid(self) -> Decimal:
        """What was handed over or charged."""
        return self.total if self.cash is None else self.cash

    @property
    def change(self) -> Decimal:
        """`paid` less `total`."""
        return self.paid - self.total


def tax_on_top(items: tuple[Item, ...], rate: Decimal) -> tuple[TaxRow, ...]:
    """One rate on the sum of all items, as in the United States."""
    net = sum((item.amount for item in items), Decimal())
    return (TaxRow(code="", rate=rate, net=net, amount=cents(net * rate)),)


def tax_inside(items: tuple[Item, ...], rates: dict[str, Decimal]) -> tuple[TaxRow, ...]:
    """What the gross prices contain, one row for each tax code in use, in the order of `rates`."""
    rows: list[TaxRow] = []
    for code, rate in rates.items():
        gross = sum((item.amount for item in items if item.tax_code == code), Decimal())
        if gross:
            net = cents(gross / (1 + rate))
            rows.append(TaxRow(code=code, rate=rate, net=net, amount=gross - net))
    return tuple(rows)
