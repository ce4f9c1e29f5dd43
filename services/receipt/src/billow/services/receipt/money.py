"""Amounts, quantities and rates as decimal strings."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from billow.services.receipt.numerals import Convention, Numeral, clean, find_numerals, readings

_REPAIRED = 0.9
_RATE = re.compile(r"([0-9][0-9.,]*|[.,][0-9]+)\s*(%)?")
_TIMES = re.compile(r"(?<=[0-9])\s*[x×*](?![a-z])|(?<![a-z])[x×]\s*(?=[0-9])|(?<=[0-9])x(?=[a-z])", re.IGNORECASE)
_GLUED_UNIT = re.compile(r"(?<=[0-9])(?=[A-Za-z]{1,4}\b)(?![OoIlSsB]\b)|(?<=[A-Za-z]{3})(?=[0-9])")


class Number(NamedTuple):
    """What a text with a number in it may mean."""

    readings: tuple[Decimal, ...]
    """The likeliest first."""
    certainty: float
    """0..1, below 1 where letters had to be read as digits."""

    @property
    def value(self) -> Decimal:
        """The likeliest reading."""
        return self.readings[0]


def read_amount(text: str, convention: Convention) -> Number | None:
    """The last number in `text`, since what stands before an amount is its label, a rate or a count."""
    return _number([(n, readings(n, convention)) for n in reversed(find_numerals(text))])


def read_quantity(text: str, convention: Convention) -> Number | None:
    """The first number in `text`: `2x`, `x2`, `6 Pcs`, `0.264X`. Three digits after a mark are taken for a fraction."""
    spaced = _GLUED_UNIT.sub(" ", _TIMES.sub(" ", clean(text)))
    return _number([(n, _fraction_first(n, convention)) for n in find_numerals(spaced)])


def _fraction_first(numeral: Numeral, convention: Convention) -> tuple[Decimal, ...]:
    return readings(numeral, Convention(numeral.marks) if numeral.ambiguous else convention)


def _number(found: Sequence[tuple[Numeral, tuple[Decimal, ...]]]) -> Number | None:
    """The first of `found`; the readings of the others come after its own."""
    if not found:
        return None
    values = tuple(dict.fromkeys(value for _, each in found for value in each))
    return Number(values, _REPAIRED if found[0][0].repaired else 1.0)


def read_rate(text: str) -> Decimal | None:
    """A tax rate as a fraction: `9.5%` and `9,5` are 0.095, `0.06` without a sign is 0.06; None above 100 %."""
    matches = list(_RATE.finditer(clean(text)))
    if not matches:
        return None
    match = next((m for m in matches if m.group(2)), matches[-1])
    digits, sign = match.group(1).replace(",", ".").rstrip("."), match.group(2)
    if digits.count(".") > 1:
        return None
    value = Decimal(digits if digits[0] != "." else f"0{digits}")
    if sign is None and 0 < value < 1:
        return value
    return value / 100 if value <= 100 else None


def format_amount(value: Decimal, exponent: int) -> str:
    """At least the currency's decimals, more only where they say more: `8.2` is `8.20`, `9.000` is `9.00`.

    Where the currency has none, decimals are shown only if they are not zero.
    """
    printed = _trim(value)
    fraction = printed.partition(".")[2]
    decimals = max(len(fraction), 2 if fraction and exponent == 0 else exponent)
    return f"{value:.{decimals}f}" if value else f"{Decimal(0):.{decimals}f}"


def format_plain(value: Decimal) -> str:
    """Without trailing zeros or exponent: a quantity or a rate."""
    return _trim(value)


def _trim(value: Decimal) -> str:
    printed = f"{value:f}"
    printed = printed.rstrip("0").rstrip(".") if "." in printed else printed
    return "0" if printed in ("-0", "") else printed
