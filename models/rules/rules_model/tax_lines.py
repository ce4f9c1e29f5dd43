"""The document's whole tax, and lines such as `GST 6% 1.25` that do for a tax table."""

from collections.abc import Sequence

from .board import Board
from .numerals import Number
from .page import Row
from .segments import Segment
from .taxes import TaxRow, rate_of
from .totals import Ledger

_USUAL_RATES = (5, 6, 7, 8, 9, 10, 12, 15, 16, 18, 19, 20, 21, 22, 23, 25)
_Option = tuple[float, int, Row, Number, Row]
"""Score, order, row and number of the amount, row of the keyword."""


def label_tax(
    board: Board, ledger: Ledger, numbers: Sequence[list[Number]], tables: Sequence[TaxRow], total: float | None
) -> list[TaxRow]:
    """Label the whole tax: named as such, else the total of the tax table.

    Without a table, lines with their own rate are its rows. They are returned instead of labelled: a single one is
    the whole tax by itself, and of several none is, so that only an amount without a rate is labelled then.
    """
    options = sorted(_options(ledger, tables, total), key=lambda option: option[:2], reverse=True)
    options = [option for option in options if option[0] > 0]
    lines: list[TaxRow] = []
    if options and not tables:
        lines = _lines(options, numbers)
        if len(lines) == 1 and (options[0][2] is not lines[0].row or options[0][3] is not lines[0].amount):
            lines = []
        taken = {id(line.amount) for line in lines}
        whole = sum(line.amount.value for line in lines)
        options = [o for o in options if id(o[3]) not in taken and (not lines or abs(o[3].value - whole) < 0.021)]
        if len(lines) == 1:
            return lines
    for score, _, row, number, _ in options:
        if board.put(row, range(number.start, number.end), "tax", 0.55 + 0.2 * score):
            break
    return lines


def _lines(options: Sequence[_Option], numbers: Sequence[list[Number]]) -> list[TaxRow]:
    """The amounts whose keyword has a rate of its own, from top to bottom, one a rate."""
    lines: dict[float, TaxRow] = {}
    for _, _, row, number, keyword in sorted(options, key=lambda option: option[4].number):
        rate = rate_of(keyword, numbers[keyword.number])
        if rate is not None and rate is not number and rate.value not in lines:
            lines[rate.value] = TaxRow(row, rate, 0.0, number, is_sum=False, rate_row=keyword)
    taxed = [line for line in lines.values() if line.amount.value]
    return taxed or list(lines.values())[:1]


def _options(ledger: Ledger, tables: Sequence[TaxRow], total: float | None) -> list[_Option]:
    table_sum = sum(row.amount.value for row in tables if not row.is_sum)
    options: list[_Option] = []
    for order, segment in enumerate(ledger.segments):
        if segment.role != "tax" or segment.table or not segment.money:
            continue
        row, number = segment.money[-1]
        score = 0.5 + segment.prior
        score += 0.5 if tables and abs(number.value - table_sum) < 0.011 else 0.0
        if total is not None and any(abs(s + number.value - total) < 0.051 for s in ledger.values("subtotal")):
            score += 0.4
        if total is not None and abs(number.value) > 0.35 * abs(total) + 0.01:
            score -= 1.5
        options.append((score, -order, row, number, segment.row))
    options += _included(ledger, total)
    options += [(0.4, -row.row.number, row.row, row.amount, row.row) for row in tables if row.is_sum]
    return options


def _included(ledger: Ledger, total: float | None) -> list[_Option]:
    """`Total includes 6 % GST 1.51`: an amount with the wording of a total that is the tax inside of it."""
    found: list[_Option] = []
    for order, segment in enumerate(ledger.segments):
        if total is None or not _may_be_included(segment):
            continue
        row, number = segment.money[-1]
        rates = [n.value for n in segment.numbers if n.percent] or _USUAL_RATES
        if any(abs(total - total / (1 + rate / 100) - number.value) < 0.016 for rate in rates if rate):
            found.append((0.7, -order, row, number, segment.row))
    return found


def _may_be_included(segment: Segment) -> bool:
    return segment.role == "total" and bool(segment.money) and "tax" in segment.classes
