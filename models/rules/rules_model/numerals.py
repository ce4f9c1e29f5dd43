"""Numbers in print: `1,234.50`, `1.234,50`, `RM9.00`, `9 .00`, `4,00-`, `(0.02)`, `6%`."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from .folding import as_digits
from .page import Row, Token

Style = Literal[".", ",", "grouped", "plain"]
"""How a document writes money: decimals after this sign, thousands in groups without decimals, or bare integers."""

_CURRENCY = (
    r"(?:[A-Z]{0,2}[$€£¥₫฿₱₹]|RM|MYR|SGD|USD|EUR|EURO|GBP|CHF|AUD|CAD|NZD|HKD|IDR|VND|VNĐ|THB|PHP|INR|JPY|CNY|Rp|RP|Rs"
    r"|IDR|KR|SEK|NOK|DKK|PLN|đ)"
)
CURRENCY = re.compile(rf"[-(+]?{_CURRENCY}[.:)]*", re.IGNORECASE)
_NUMBER = re.compile(
    rf"(?P<open>[(\[]?)(?P<sign>[-+–−~]?)(?P<cur>{_CURRENCY}\.?)?(?P<sign2>[-+–−]?)"
    r"(?P<body>\d[\d.,']*|[.,]\d\d)(?P<percent>%?)"
    rf"(?P<tail>\s*(?:{_CURRENCY}|[A-Za-z*#]{{1,2}}))?(?P<minus>-?)(?P<close>[)\]]?)"
)
_CONFUSABLE = re.compile(r"[OoDQlI|iSsB]")
_EDGES = " :;=*|_\"'`~^"


@dataclass(frozen=True, slots=True)
class _Shape:
    body: str
    negative: bool
    percent: bool
    currency: bool
    letters: bool


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a row."""

    value: float
    decimals: int
    start: int
    """First word, as a position in the row."""
    end: int
    """One past the last word."""
    x0: float
    x1: float
    grouped: bool = False
    percent: bool = False
    currency: bool = False
    """A currency stands at it."""
    letters: bool = False
    """Letters are glued to it, such as a tax code."""
    digits: int = 0
    """How many digits were printed."""

    def same(self, other: float) -> bool:
        """Equal to a tenth of a cent."""
        return abs(self.value - other) < 0.001


@lru_cache(maxsize=8192)
def _shape(text: str) -> _Shape | None:
    """Take a word apart, or None if it is no number."""
    text = text.strip(_EDGES)
    if not text or len(text) > 24:
        return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        repaired = _repair(text)
        match = _NUMBER.fullmatch(repaired) if repaired else None
    if match is None:
        return None
    body = match["body"].rstrip(".,'")
    if not body:
        return None
    bracketed = bool(match["open"]) and bool(match["close"])
    negative = bool(match["minus"]) or bracketed or (match["sign"] + match["sign2"]).strip("+~") != ""
    tail = (match["tail"] or "").strip()
    currency = bool(match["cur"]) or (bool(tail) and CURRENCY.fullmatch(tail) is not None)
    return _Shape(body, negative, bool(match["percent"]), currency, bool(tail) and not currency)


def _repair(text: str) -> str | None:
    """Undo letters for digits, if digits and separators are most of the word."""
    letters = len(_CONFUSABLE.findall(text))
    digits = sum(c.isdigit() for c in text)
    if not letters or not digits or letters > digits or not re.search(r"[.,]", text):
        return None
    return as_digits(text)


def style_of(rows: Iterable[Row]) -> Style:
    """How this document writes money, by counting its unmistakable numbers."""
    counts: Counter[str] = Counter()
    for row in rows:
        for token in row.tokens:
            shape = _shape(token.text)
            if shape is None or shape.percent:
                continue
            if match := re.fullmatch(r"(?:\d+|\d{1,3}(?:[.,']\d{3})+)?([.,])\d\d", shape.body):
                counts[match[1]] += 1
            elif re.fullmatch(r"[1-9]\d{0,2}([.,])\d{3}(?:\1\d{3})*", shape.body):
                counts["grouped"] += 1
    if counts["grouped"] > 1.5 * (counts["."] + counts[","]):
        return "grouped"
    if counts["."] + counts[","]:
        return "." if counts["."] >= counts[","] else ","
    return "plain"


def _value(body: str, style: Style) -> tuple[float, int, bool] | None:
    """Value, decimals, and whether thousands were grouped; None for what is no number, e.g. a date."""
    body = body.replace("'", "")
    parts = re.split(r"[.,]", body)
    separators = re.findall(r"[.,]", body)
    if not separators:
        return float(body), 0, False
    last, sign = parts[-1], separators[-1]
    groups = len(separators) > 1
    if groups and any(len(part) != 3 for part in parts[1:-1]):
        # 1.234.50: a reader's comma; 12.03.18 is none.
        return None
    if len(last) != 3:
        return float("".join(parts[:-1]) + "." + last if parts[0] or groups else "0." + last), len(last), groups
    whole = groups and separators[0] == sign
    decimal = not whole and (groups or parts[0] in ("", "0") or (style == sign and style in (".", ",")))
    if decimal:
        return float("".join(parts[:-1]) + "." + last), 3, groups
    return (float("".join(parts)), 0, True) if len(parts[0]) <= 3 else None


def find_numbers(row: Row, style: Style) -> list[Number]:
    """The numbers of a row, from left to right; a number may be several words (`9 .00`, `1 234,50`, `- 0.02`)."""
    found: list[Number] = []
    tokens = row.tokens
    at = 0
    while at < len(tokens):
        end, text = _span(tokens, at)
        shape = _shape(text)
        parsed = _value(shape.body, style) if shape else None
        if shape is None or parsed is None:
            at += 1
            continue
        start, negative = at, shape.negative
        before = tokens[at - 1].text if at else ""
        currency = shape.currency or bool(CURRENCY.fullmatch(before.strip(":")))
        if (before in ("-", "–", "−", "(-)") and tokens[at].x0 - tokens[at - 1].x1 < 2 * tokens[at].height) or (
            before.startswith("-") and CURRENCY.fullmatch(before)
        ):
            start, negative = at - 1, True
        after = tokens[end].text if end < len(tokens) else ""
        if after.strip(".") and CURRENCY.fullmatch(after.strip(".*")) and not has_gap(tokens, end):
            currency = True
        percent = shape.percent or after in ("%", "%:", "%)")
        value, decimals, grouped = parsed
        found.append(
            Number(
                -value if negative else value,
                decimals,
                start,
                end,
                tokens[start].x0,
                tokens[end - 1].x1,
                grouped,
                percent,
                currency,
                shape.letters,
                sum(c.isdigit() for c in shape.body),
            )
        )
        at = end
    return found


def has_gap(tokens: Sequence[Token], at: int) -> bool:
    """Whether a column gap stands before a word."""
    return tokens[at].x0 - tokens[at - 1].x1 > 1.5 * max(tokens[at].height, 1e-6)


def _span(tokens: Sequence[Token], at: int) -> tuple[int, str]:
    """One past the last word of the number that may start at `at`, and its text without the spaces."""
    text = tokens[at].text
    if at + 1 >= len(tokens) or (not text[-1:].isdigit() and text[-1:] not in (".", ",")):
        return at + 1, text
    gap = tokens[at + 1].x0 - tokens[at].x1
    if gap > 0.9 * tokens[at].height or not re.search(r"\d", text):
        return at + 1, text
    after = tokens[at + 1].text
    if re.fullmatch(r"[.,]\d\d\D{0,2}", after) and re.search(r"\d$", text) and not re.search(r"[.,]", text):
        return at + 2, text + after
    if re.fullmatch(r"\d\d", after) and re.search(r"\d[.,]$", text):
        return at + 2, text + after
    if re.fullmatch(r"\D?\d{1,3}", text) and re.fullmatch(r"\d{3},\d\d\D{0,2}", after):
        return at + 2, text + after
    return at + 1, text


def is_money(number: Number, style: Style) -> bool:
    """Whether a number is written as this document writes money."""
    if number.percent or (number.letters and number.decimals != 2):
        return False
    if number.decimals == 2:
        return style != "grouped" or number.currency
    if style in (".", ","):
        return number.currency and number.decimals == 0 and number.digits <= 6
    return (number.grouped or number.currency) and number.decimals == 0


def is_weak_money(number: Number, style: Style) -> bool:
    """Whether a bare integer may be money, where the keyword beside it asks for money."""
    if number.percent or number.letters or number.decimals:
        return False
    if style in (".", ","):
        return number.value == 0 and number.digits == 1
    return number.digits <= 8 and (style == "plain" or number.value == 0 or abs(number.value) >= 10)
