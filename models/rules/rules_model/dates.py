"""Dates and times of day: where they stand, and which of them is the transaction's."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .folding import fold
from .page import Row

_MONTHS = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
    "|jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec"
    "|januar|februar|marz|maerz|mai|juni|juli|oktober|dezember|okt|dez"
    "|janvier|fevrier|mars|avril|juin|juillet|aout|septembre|octobre|novembre|decembre|janv|fevr|avr|juil"
    "|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre|ene|abr|ago|dic"
    "|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre|dicembre|gen|mag|giu|lug|set|ott"
    "|janeiro|fevereiro|marco|maio|junho|julho|setembro|outubro|dezembro|fev|out"
    "|januari|februari|maart|mei|augustus|mrt|jui|maret|agustus|desember|agt|agu|des|mac|julai|ogos|disember|ogo"
)
_MONTH_WORDS = "|".join(sorted(set(_MONTHS.split("|")), key=len, reverse=True))
_YEAR = r"(?P<y>(?:19|20)\d\d|\d\d)"
_SEP = r"\s?[-/.~]\s?"

_PATTERNS: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(pattern), weight)
    for pattern, weight in (
        (rf"(?<![\d.,])(?P<y>20\d\d)(?P<s>{_SEP})(?P<m>\d\d?){_SEP}(?P<d>\d\d?)(?!\d)", 0.6),
        (rf"(?<!\d)(?P<d>\d\d?){_SEP}(?P<m>\d\d?){_SEP}(?P<y>(?:19|20)\d\d)(?!\d)", 0.6),
        (rf"(?<![\d.,$])(?P<d>\d\d?)(?P<s>[-/.~])(?P<m>\d\d?)(?:(?P=s)|[-~]){_YEAR}(?![\d/%])(?!\.\d)", 0.3),
        (rf"(?<!\d)(?P<d>\d\d?) ?(?:st|nd|rd|th|\.|de|d)?[ \-/.,']{{0,3}}(?P<w>{_MONTH_WORDS})(?:[a-z]{{0,2}})"
         rf"[ \-/.,']{{0,3}}(?:de |d )?{_YEAR}(?!\d)", 0.6),
        (rf"(?<![a-z])(?P<w>{_MONTH_WORDS})[ .\-/']{{0,2}}(?P<d>\d\d?)(?:st|nd|rd|th)?[ ,.\-/']{{1,3}}"
         rf"(?P<y>20\d\d|\d\d)(?![\d:])", 0.5),
        (rf"(?<!\d)(?P<y>20\d\d)[ \-/.]?(?P<w>{_MONTH_WORDS})[ \-/.]?(?P<d>\d\d?)(?!\d)", 0.5),
        (r"(?<!\d)(?P<d>\d\d?) ?thang ?(?P<m>\d\d?) ?nam ?(?P<y>20\d\d)", 0.8),
        (r"(?<!\d)(?P<y>20[0-3]\d)(?P<m>0[1-9]|1[0-2])(?P<d>0[1-9]|[12]\d|3[01])(?=\D|$)", -0.8),
        (r"(?<!\d)(?P<d>0[1-9]|[12]\d|3[01])(?P<m>0[1-9]|1[0-2])(?P<y>20[0-3]\d)(?!\d)", -1.6),
        (r"(?<!\d)(?P<d>\d\d?)[-/. ]{1,3}(?P<m>\d\d?)[-/. ]{1,3}(?P<y>20[0-3]\d)(?!\d)", -0.6),
        (r"(?<!\d)(?P<d>\d\d)[-/.]?(?P<m>\d\d)[-/.]?(?P<y>20[0-3]\d)(?!\d)", -0.7),
    )
)  # fmt: skip
_TIME = re.compile(
    r"(?<![\d.,/\-])(?<!\d:)(?P<h>[01]?\d|2[0-4]) ?(?P<s>[:.h]|: ) ?(?P<m>[0-5]\d)(?:[:.][0-5]\d)?"
    r"(?P<ap> ?[ap]\.?m?\b\.?)?(?!\d|[.,]\d)"
)
_RANGE = re.compile(r"\d\d ?(?:[ap]\.?m\.?)? ?(?:-|–|to|bis|until) ?\d\d?[:.]")
_DIGITISED = str.maketrans({"o": "0", "l": "1", "i": "1", "|": "1"})
_NEAR_DIGIT = re.compile(r"(?<=[\d/\-])[oli|](?=[\d/\-]|$|\s)|(?<![a-z])[oli|](?=[\d/])")


@dataclass(frozen=True, slots=True)
class Found:
    """A date or a time in a row."""

    row: Row
    start: int
    """Offset in the row's text."""
    end: int
    key: tuple[int, int, int] | tuple[int, int]
    """(year, month, day) with day and month as printed, or (hour, minute)."""
    weight: float
    """How much it looks like one."""


@lru_cache(maxsize=2048)
def _readable(text: str) -> str:
    """Folded, letters next to digits read as digits; same length."""
    folded = fold(text)
    return _NEAR_DIGIT.sub(lambda m: m.group().translate(_DIGITISED), folded)


def find_dates(row: Row) -> list[Found]:
    """Possible dates of a row, none overlapping, by their offsets."""
    return [Found(row, *span) for span in _dates_in(row.text)]


@lru_cache(maxsize=2048)
def _dates_in(text: str) -> tuple[tuple[int, int, tuple[int, int, int], float], ...]:
    """(start, end, key, weight) of each date in a text."""
    if sum(map(text.count, "0123456789")) < 3:
        return ()
    text = _readable(text)
    found: list[tuple[int, int, tuple[int, int, int], float]] = []
    for pattern, weight in _PATTERNS:
        for match in pattern.finditer(text):
            key = _valid(match)
            if key is None or any(match.start() < end and start < match.end() for start, end, *_ in found):
                continue
            found.append((match.start(), match.end(), key, weight))
    return tuple(found)


def _valid(match: re.Match[str]) -> tuple[int, int, int] | None:
    groups = match.groupdict()
    year, day = int(groups["y"]), int(groups["d"])
    month = int(groups["m"]) if groups.get("m") else 0
    if year < 100:
        if not 0 <= year <= 45 and not (day <= 45 and year <= 31):
            return None
        year += 2000
    elif not 1990 <= year <= 2045:
        return None
    if groups.get("w"):
        return (year, sum(map(ord, groups["w"][:3])) + 100, day) if 1 <= day <= 31 else None
    low, high = sorted((month, day))
    if 1 <= low <= 12 and high <= 31:
        return (year, month, day)
    # yy/mm/dd
    return (year, month, day) if 1 <= month <= 12 and day <= 45 and year % 100 <= 31 else None


def find_times(row: Row) -> list[Found]:
    """Possible times of day of a row."""
    text = _readable(row.text)
    if ":" not in text and "." not in text and "h" not in text:
        return []
    found: list[Found] = []
    for match in _TIME.finditer(text):
        weight = {":": 1.0, ": ": 0.8, ".": -0.6, "h": -0.2}[match["s"]] + (0.6 if match["ap"] else 0.0)
        found.append(Found(row, match.start(), match.end(), (int(match["h"]), int(match["m"])), weight))
    return found


def _keyword(rows: Sequence[Row], found: Found) -> tuple[str, ...]:
    """The classes of the term that announces a date: the nearest before it in the row, else the one above it."""
    row = found.row
    words = row.tokens_at(found.start, found.end)
    if not words:
        return ()
    before = [
        hit
        for hit in row.hits
        if hit.end <= words[0] + (0 if hit.start < words[0] else 1)
        and not hit.classes <= {"filler", "common", "time", "street", "company", "col_code"}
    ]
    if before:
        # `Bestellung ... vom` is not the date that `vom` alone would announce, `Rechnung ... vom` is.
        others = {name for hit in before[-4:-1] for name in hit.classes}
        return (*before[-1].classes, *(f"after {name}" for name in others & {"invoice_no", "not_date"}))
    if row.number and rows[row.number - 1].page == row.page:
        above = rows[row.number - 1]
        left, right = row.tokens[words[0]].x0, row.tokens[words[-1]].x1
        for hit in above.hits:
            a, b = above.tokens[hit.start].x0, above.tokens[hit.end - 1].x1
            if min(right, b) - max(left, a) > 0 and not hit.classes.isdisjoint({"date", "due_date", "not_date"}):
                return (*hit.classes, "above")
    return ()


def rank_dates(rows: Sequence[Row], *, due: bool = False) -> list[tuple[float, Found]]:
    """All dates with their score as the date of the transaction (or as the due date), best first."""
    dates = [found for row in rows for found in find_dates(row)]
    seen: dict[object, int] = {}
    for found in dates:
        seen[found.key] = seen.get(found.key, 0) + 1
    scored: list[tuple[float, Found]] = []
    for order, found in enumerate(dates):
        score = found.weight + 0.3 * min(seen[found.key] - 1, 2) - 0.02 * min(order, 10)
        classes = set(_keyword(rows, found))
        above = 0.4 if "above" in classes else 0.0
        if due:
            score += 2.5 - above if "due_date" in classes else -3
        elif classes & {"due_date", "not_date"}:
            score -= 2.5 - above if "date" not in classes or "due_date" in classes else -1.0
        elif "date" in classes:
            score += 2 - above
            score += 0.8 if "after invoice_no" in classes else 0.0
            score -= 1.0 if "after not_date" in classes and "after invoice_no" not in classes else 0.0
        elif classes & {"invoice_no", "receipt_no", "title"}:
            score += 0.3
        elif classes & {"phone", "fax", "tax_id", "reg_no", "bank", "iban"}:
            score -= 1.5
        if not due and any(time.weight > 0 for time in find_times(found.row)):
            score += 1
        scored.append((score, found))
    return sorted(scored, key=lambda pair: -pair[0])


def rank_times(rows: Sequence[Row], date: Found | None) -> list[tuple[float, Found]]:
    """All times with their score as the time of the transaction, best first."""
    scored: list[tuple[float, Found]] = []
    for row in rows:
        times = [time for time in find_times(row) if not _inside(time, date)]
        for order, found in enumerate(times):
            score = found.weight - 0.05 * order
            score += 1.2 if row.has("time", "date") else 0.0
            score -= 1.5 if row.has("not_date", "thanks") and not row.has("date") else 0.0
            if date is not None:
                distance = abs(row.number - date.row.number)
                score += max(1.5 - 0.5 * distance, 0.0)
            if len(times) > 1 and _RANGE.search(_readable(row.text)):
                score -= 1.5
            scored.append((score, found))
    return sorted(scored, key=lambda pair: -pair[0])


def _inside(time: Found, date: Found | None) -> bool:
    return date is not None and time.row is date.row and time.start < date.end and date.start < time.end


def spans(found: Found) -> Iterator[int]:
    """Positions in the row of the words that hold it."""
    yield from found.row.tokens_at(found.start, found.end)
