"""The tax table: rate, base and tax of each rate, one a row."""

from collections.abc import Sequence
from dataclasses import dataclass

from .numerals import Number, Style, is_money
from .page import Row

_HEADER = frozenset({"col_amount", "col_tax", "tax", "sub", "sum", "summary", "excl", "incl"})
_MOST_ROWS = 10
_HIGHEST_RATE = 40


@dataclass(slots=True)
class TaxRow:
    """One row of the table."""

    row: Row
    rate: Number | None
    base: float
    amount: Number
    is_sum: bool
    """The table's own total."""
    rate_row: Row | None = None
    """Where the rate stands, if not in `row`."""


def find_tables(rows: Sequence[Row], numbers: Sequence[list[Number]], style: Style) -> tuple[list[TaxRow], set[int]]:
    """Rows of all tax tables, and the numbers of the rows that belong to one."""
    found: list[TaxRow] = []
    members: set[int] = set()
    at = 0
    while at < len(rows):
        if not _is_header(rows[at], numbers[at], style):
            at += 1
            continue
        table = _read(rows, numbers, style, at)
        if table:
            found.extend(table)
            last = table[-1].row.number
            members.update(range(at, last + 1))
            at = last
        at += 1
    found.extend(_alone(rows, numbers, style, members))
    return sorted(found, key=lambda each: each.row.number), members


def _alone(rows: Sequence[Row], numbers: Sequence[list[Number]], style: Style, members: set[int]) -> list[TaxRow]:
    """Rows outside of any table that name a tax and show rate, base and tax, and the product is right."""
    found: list[TaxRow] = []
    for row in rows:
        rate = next((n for n in numbers[row.number] if n.percent and n.value), None)
        if row.number in members or rate is None or not row.has("tax", "sub"):
            continue
        values = [n for n in numbers[row.number] if is_money(n, style)]
        if len(values) == 2 and _fits(rate.value, values):
            base, amount = sorted(values, key=lambda n: -abs(n.value))
            found.append(TaxRow(row, rate, base.value, amount, is_sum=False))
            members.add(row.number)
    return found


def rate_of(row: Row, numbers: Sequence[Number]) -> Number | None:
    """The rate in a row that shows no more than one."""
    rates = [n for n in numbers if n.percent and 0 <= n.value <= _HIGHEST_RATE]
    return rates[0] if len(rates) == 1 and not row.has("discount", "service") else None


def _is_header(row: Row, numbers: list[Number], style: Style) -> bool:
    if any(is_money(number, style) for number in numbers):
        return False
    if row.has("summary") and (len(row.hits) > 1 or len(row.tokens) <= 3):
        return True
    kinds = {next(iter(sorted(hit.classes & _HEADER))) for hit in row.hits if hit.classes & _HEADER}
    return (
        row.has("tax", "col_tax")
        and len(kinds) >= 2
        and len(row.hits) >= 3
        and not row.has("col_qty", "col_price", "col_name", "col_code")
    )


def _read(rows: Sequence[Row], numbers: Sequence[list[Number]], style: Style, header: int) -> list[TaxRow]:
    table: list[TaxRow] = []
    for at in range(header + 1, min(header + 1 + _MOST_ROWS, len(rows))):
        row = rows[at]
        money = [n for n in numbers[at] if is_money(n, style) or (n.decimals == 1 and not n.percent)]
        if row.has("change", "cash", "card", "rounding", "paid", "date", "count") and len(money) < 2:
            break
        parsed = _row(row, numbers[at], money)
        if parsed is not None:
            table.append(parsed)
        elif (
            (money and table)
            or (at - header > 3 and not table)
            or (table and not money and sum(c.isalpha() for c in row.text) > 12)
        ):
            break
    return table


def _row(row: Row, numbers: list[Number], money: list[Number]) -> TaxRow | None:
    """Base and tax among the amounts of a row: tax = base x rate, or base + tax = gross, else the last two."""
    rate = next((n for n in numbers if n.percent and 0 <= n.value <= _HIGHEST_RATE), None)
    if rate is not None:
        money = [number for number in money if number is not rate]
    values = [n for n in money if n is not rate]
    if rate is None:
        rate = next(
            (
                n
                for n in numbers
                if n.start < (values[0].start if values else 0) and 0 <= n.value <= 30 and n not in money
            ),
            None,
        )
        if rate is None and len(values) >= 3 and values[0].value <= 30 and _fits(values[0].value, values[1:]):
            rate, values = values[0], values[1:]
    if len(values) < 2:
        return None
    pair = _pair(rate.value if rate else None, values)
    if pair is None:
        return None
    base, amount = pair
    return TaxRow(row, rate, base.value, amount, row.has("sum", "final") and rate is None)


def _fits(rate: float, values: list[Number]) -> bool:
    return any(a is not b and abs(a.value * rate / 100 - b.value) <= 0.02 for a in values for b in values)


def _pair(rate: float | None, values: list[Number]) -> tuple[Number, Number] | None:
    if rate:
        for base in values:
            for amount in values:
                if base is not amount and abs(base.value * rate / 100 - amount.value) <= 0.011 + 0.001 * abs(
                    base.value
                ):
                    return base, amount
    if len(values) >= 3:
        for gross in values:
            rest = [n for n in values if n is not gross]
            for base in rest:
                for amount in rest:
                    if base.value > amount.value and abs(base.value + amount.value - gross.value) < 0.011:
                        return base, amount
    base, amount = values[-2], values[-1]
    if abs(amount.value) > abs(base.value):
        base, amount = amount, base
    return (base, amount) if abs(amount.value) <= 0.35 * abs(base.value) + 0.011 else None
