"""Printed dates: many orders, separators and languages, to one calendar day or to nothing."""

import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Literal, NamedTuple

from billow.services.receipt.months import MONTH_PATTERN, MONTHS, fold
from billow.services.receipt.numerals import clean

Order = Literal["dmy", "mdy", "ymd"]

OLDEST_YEAR = 1990
"""Nothing older is handed in; an older date is a misreading."""
FUTURE_DAYS = 366 * 6
"""How far ahead a date may lie (a due date, an expiry) before it is a misreading."""

_MONTH_FIRST = frozenset({"USD", "PHP"})
_YEAR_FIRST_CURRENCIES = frozenset({"JPY", "CNY", "KRW", "TWD", "HUF", "SEK"})
_YEAR_FIRST_LANGUAGES = frozenset({"ja", "zh", "ko", "hu", "sv", "lt"})
_DAY_FIRST = "de fr es it nl pt id ms vi da no nb fi pl cs tr ru"
_DAY_FIRST_LANGUAGES = frozenset(_DAY_FIRST.split())

_DEFAULT_CERTAINTY = 0.8
_REPAIRED_CERTAINTY = 0.9

_Y4 = r"(?P<y>(?:19|20)[0-9]{2})"
_Y = r"(?P<y>(?:19|20)[0-9]{2}|[0-9]{2})"
_END = r"(?:(?![0-9])|(?=[0-9]{1,2}\s?:\s?[0-9]{2}))"
_D = r"(?P<d>[0-9]{1,2})"
_GAP = r"[\s\-/.,_']"
_SEP = r"\s?[-/.,'_ ]\s?"

_YEAR_FIRST = re.compile(rf"(?<![0-9]){_Y4}\s?[-/.,年년 ]\s?(?P<m>[0-9]{{1,2}})\s?[-/.,月월 ]\s?{_D}(?![0-9]{{3}})")
_NAMED = (
    re.compile(
        rf"(?<![0-9]){_D}(?:st|nd|rd|th|er|[ºª°])?{_GAP}*(?:de\s+|di\s+)?(?P<mon>{MONTH_PATTERN})\.?"
        rf"{_GAP}*(?:de\s+|del\s+)?{_Y}{_END}"
    ),
    re.compile(
        rf"(?<![a-z])(?P<mon>{MONTH_PATTERN})\.?{_GAP}*{_D}(?:st|nd|rd|th)?(?:{_GAP}+{_Y}{_END}"
        rf"|(?<=[0-9]{{2}})(?P<y4>20[0-9]{{2}})(?![0-9]))"
    ),
    re.compile(rf"(?<![0-9]){_Y4}{_GAP}*(?P<mon>{MONTH_PATTERN})\.?{_GAP}*{_D}(?![0-9])"),
)
_NUMBERED = re.compile(rf"(?:ngay\s*)?{_D}\s*thang\s*(?P<m>[0-9]{{1,2}})\s*nam\s*{_Y4}")
_NUMERIC = re.compile(
    rf"(?<![0-9])(?<![0-9][.,:])(?P<a>[0-9]{{1,2}}){_SEP}(?P<b>[0-9]{{1,2}}){_SEP}(?P<c>(?:19|20)[0-9]{{2}}|[0-9]{{2}}){_END}"
)
_GLUED = re.compile(r"(?<![0-9])(?P<all>[0-9]{8})(?:[0-9]{4}|[0-9]{6})?(?![0-9])")
_GLUED_SHORT = re.compile(r"\s*(?P<a>[0-9]{2})(?P<b>[0-9]{2})(?P<c>[0-9]{2})\s*")

_SLIPS = str.maketrans({"o": "0", "q": "0", "l": "1", "i": "1", "|": "1", "s": "5", "b": "8", "z": "2"})
_SLIPPED = re.compile(r"(?<![a-z])[0-9oqli|sbz](?:[0-9oqli|sbz]|[-/.]\s?(?=[0-9oqli|sbz])){5,}(?![a-z])")
_SLIPPED_PART = re.compile(r"(?<![a-z0-9])(?=[a-z|]{0,3}[0-9])(?:[0-9oqli|sbz]{2}){1,2}(?![a-z0-9])")


class DateReading(NamedTuple):
    """A calendar day and how sure the reading is."""

    value: date
    certainty: float
    """0..1, below 1 where day and month were told apart by default only or digits were repaired."""


class DateOrder(NamedTuple):
    """In which order a document writes its numeric dates."""

    order: Order
    is_default: bool
    """Whether nothing in the document told."""


class _Candidate(NamedTuple):
    year: int
    month: int
    day: int
    ambiguous: bool = False


def decide_order(texts: Iterable[str], currency: str | None, language: str | None) -> DateOrder:
    """Day or month first: other dates that leave no choice decide, then the currency, then the language."""
    votes = {"dmy": 0, "mdy": 0}
    for text in texts:
        for match in _NUMERIC.finditer(fold(clean(text))):
            first, second = int(match["a"]), int(match["b"])
            if first > 12 >= second:
                votes["dmy"] += 1
            elif second > 12 >= first:
                votes["mdy"] += 1
    if votes["dmy"] != votes["mdy"]:
        return DateOrder("dmy" if votes["dmy"] > votes["mdy"] else "mdy", is_default=False)
    if currency in _MONTH_FIRST and language in (None, "en", "es", "tl"):
        return DateOrder("mdy", is_default=False)
    if currency in _YEAR_FIRST_CURRENCIES or language in _YEAR_FIRST_LANGUAGES:
        return DateOrder("ymd", is_default=False)
    known = currency is not None and currency != "CAD"
    return DateOrder("dmy", is_default=not known and language not in _DAY_FIRST_LANGUAGES)


def read_date(text: str, order: DateOrder, today: date) -> DateReading | None:
    """The first plausible date in `text`; None rather than a wrong one.

    A reading that is not a day of the calendar gives way to the other order. Of the readings of a two-digit year the
    first that does not lie after `today` is taken.
    """
    folded = fold(clean(text))
    if (found := _choose(folded, order, today)) is not None:
        return found
    repaired = folded
    for slipped in (_SLIPPED, _SLIPPED_PART):
        repaired = slipped.sub(lambda m: m.group().translate(_SLIPS), repaired)
    if repaired == folded or (found := _choose(repaired, order, today)) is None:
        return None
    return DateReading(found.value, found.certainty * _REPAIRED_CERTAINTY)


def _choose(text: str, order: DateOrder, today: date) -> DateReading | None:
    for alternatives in _candidates(text, order.order, today):
        days = [(day, c.ambiguous) for c in alternatives if (day := _plausible(c, today)) is not None]
        if not days:
            continue
        day, ambiguous = next((d for d in days if d[0] <= today + timedelta(days=1)), days[0])
        return DateReading(day, _DEFAULT_CERTAINTY if ambiguous and order.is_default else 1.0)
    return None


def _plausible(candidate: _Candidate, today: date) -> date | None:
    try:
        day = date(candidate.year, candidate.month, candidate.day)
    except ValueError:
        return None
    return day if day.year >= OLDEST_YEAR and day <= today + timedelta(days=FUTURE_DAYS) else None


def _candidates(text: str, order: Order, today: date) -> Iterator[list[_Candidate]]:
    """For each date-like place the readings it allows, the preferred first; surer patterns come before looser ones."""
    for match in (*_YEAR_FIRST.finditer(text), *_NUMBERED.finditer(text)):
        yield [_Candidate(int(match["y"]), int(match["m"]), int(match["d"]))]
    for pattern in _NAMED:
        for match in pattern.finditer(text):
            year = match["y"] or match.groupdict().get("y4") or ""
            yield [_Candidate(_full_year(year, today), MONTHS[match["mon"]], int(match["d"]))]
    for match in _NUMERIC.finditer(text):
        yield _orders(match["a"], match["b"], match["c"], order, today)
    for match in _GLUED.finditer(text):
        run = match["all"]
        yield [
            _Candidate(int(run[:4]), int(run[4:6]), int(run[6:])),
            *_orders(run[:2], run[2:4], run[4:], order, today),
        ]
    if short := _GLUED_SHORT.fullmatch(text):
        days = _orders(short["a"], short["b"], short["c"], order, today)
        if len({day for c in days if (day := _plausible(c, today)) is not None and day <= today}) == 1:
            yield days


def _orders(a: str, b: str, c: str, preferred: Order, today: date) -> list[_Candidate]:
    ambiguous = int(a) <= 12 and int(b) <= 12 and a != b
    readings: dict[Order, _Candidate] = {
        "dmy": _Candidate(_full_year(c, today), int(b), int(a), ambiguous),
        "mdy": _Candidate(_full_year(c, today), int(a), int(b), ambiguous),
    }
    if len(c) == 2 and len(a) == 2:
        readings["ymd"] = _Candidate(_full_year(a, today), int(b), int(c), ambiguous)
    first = [readings[preferred]] if preferred in readings else []
    return first + [candidate for order, candidate in readings.items() if order != preferred]


def _full_year(digits: str, today: date) -> int:
    """Two digits mean the century in which the year is not more than the future that a date may have."""
    if len(digits) == 4:
        return int(digits)
    year = today.year - today.year % 100 + int(digits)
    return year - 100 if year > today.year + FUTURE_DAYS // 365 else year
