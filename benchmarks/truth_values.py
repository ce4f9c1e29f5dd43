"""Truth as people transcribed it, brought into the form of a record."""

import re
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Literal

Order = Literal["day-first", "either"]

_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan", "feb", "mar mär mrz", "apr", "may mai", "jun", "jul", "aug", "sep", "oct okt", "nov", "dec dez"), 1
    )
    for name in names.split()
}
_NUMERIC = re.compile(r"(?<!\d)(\d{1,4})[-/. ](\d{1,2})[-/. ](\d{4}|\d{2})(?!\d)")
_COMPACT = re.compile(r"(?<!\d)\d{8}(?!\d)")
_DAY_MONTH = re.compile(r"(?<!\d)(\d{1,2})[\W_]*([^\W\d_]{3,})[\W_]*(\d{4}|\d{2})(?!\d)")
_MONTH_DAY = re.compile(r"([^\W\d_]{3,})[\W_]*(\d{1,2})[\W_]*(\d{4}|\d{2})(?!\d)")
_AMOUNT = re.compile(r"-?\d[\d.,' ]*\d|-?\d|[.,]\d{2}\b")


def dates(text: str, order: Order = "day-first") -> frozenset[str]:
    """The ISO dates that `text` can mean; empty if none.

    Args:
        text: one date as printed, e.g. `25/12/2018`, `12-01-19`, `05 MAR 2018`, `20180304`, `Aug08,2015`.
        order: how to read two numbers that could both be a month; `either` accepts both readings.
    """
    text = text.strip().lower()
    found: set[str] = set()
    for first, second, third in _NUMERIC.findall(text):
        if len(first) == 4:
            found |= _iso(first, second, third)
        elif len(first) < 3:
            day_first = _iso(third, second, first)
            month_first = _iso(third, first, second)
            found |= day_first | month_first if order == "either" else day_first or month_first
    for run in _COMPACT.findall(text):
        found |= _iso(run[:4], run[4:6], run[6:]) or _iso(run[4:], run[2:4], run[:2])
    found |= _named(text)
    return frozenset(found)


def _named(text: str) -> set[str]:
    """Dates whose month is a word; the day stands before it if a number does."""
    parts = [(day, name, year) for day, name, year in _DAY_MONTH.findall(text)]
    parts = parts or [(day, name, year) for name, day, year in _MONTH_DAY.findall(text)]
    found: set[str] = set()
    for day, name, year in parts:
        month = _MONTHS.get(name[:3])
        if month is not None:
            found |= _iso(year, str(month), day)
    return found


def _iso(year: str, month: str, day: str) -> set[str]:
    """At most one date; two digits of a year are of this century."""
    try:
        number = int(year)
        return {date(number + 2000 if len(year) == 2 else number, int(month), int(day)).isoformat()}
    except ValueError:
        return set()


def amount(text: str) -> Decimal | None:
    """The number in a price, e.g. `RM 9.00`, `$1,234.50`, `15,20EUR`, `-3.40`, `134,999`; None if there is none.

    The last separator is the decimal point unless exactly three digits follow it.
    """
    match = _AMOUNT.search(text.replace("- ", "-"))
    if match is None:
        return None
    digits = match.group().replace(" ", "").replace("'", "")
    last = max(digits.rfind("."), digits.rfind(","))
    if last >= 0 and len(digits) - last - 1 != 3:
        whole, cents = digits[:last], digits[last + 1 :]
        digits = re.sub(r"[.,]", "", whole) + "." + cents
    else:
        digits = re.sub(r"[.,]", "", digits)
    try:
        return Decimal(digits)
    except InvalidOperation:
        return None
