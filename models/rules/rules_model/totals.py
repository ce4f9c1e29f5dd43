"""Which amount is the total: wording, then agreement with the other amounts."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .numerals import Number
from .page import Row
from .segments import Segment

_MOST = 10
_FINAL = 0.93
"""Wording at least this final leaves no doubt: `grand total`, `payable`, `rounded total`."""


@dataclass(slots=True)
class Ledger:
    """All that speaks for or against an amount being the total."""

    segments: list[Segment]
    items: list[float] = field(default_factory=list[float])
    """Amounts of the line items."""
    orphans: list[tuple[Row, Number]] = field(default_factory=list[tuple[Row, Number]])
    """Amounts below the items that no keyword explains."""
    table: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """(base, tax) of the rows of the tax table."""

    def values(self, *roles: str) -> list[float]:
        """Amounts of these roles outside of tax tables."""
        return [number.value for s in self.segments if s.role in roles and not s.table for _, number in s.money]


@dataclass(slots=True)
class Candidate:
    """An amount that may be the total."""

    score: float
    segment: Segment
    row: Row
    number: Number


def rank_totals(ledger: Ledger) -> list[Candidate]:
    """Candidates for the total, best first: wording, then agreement with the other amounts."""
    candidates: list[Candidate] = []
    last_row = max((s.row.number for s in ledger.segments), default=0) or 1
    for segment in ledger.segments:
        if segment.role not in ("total", "amount_due", "subtotal", "paid", "count", "tax"):
            continue
        for order, (row, number) in enumerate(reversed(segment.money)):
            score = segment.prior - 0.25 * order - (0.7 if segment.table else 0.0)
            score += 0.15 * segment.row.number / last_row
            candidates.append(Candidate(score, segment, row, number))
    for row, number in ledger.orphans:
        candidates.append(Candidate(0.0, Segment(row), row, number))
    support = _support(ledger, {round(c.number.value, 3) for c in candidates})
    by_value: dict[float, list[Candidate]] = {}
    for candidate in candidates:
        by_value.setdefault(round(candidate.number.value, 3), []).append(candidate)
    for value, same in by_value.items():
        named = sum(c.segment.role in ("total", "amount_due") and not c.segment.table for c in same)
        for candidate in same:
            candidate.score += support[value] + 0.1 * min(max(named - 1, 0), 2)
            if value <= 0:
                candidate.score -= 0.35 if value else 0.8
    return sorted(candidates, key=lambda c: -c.score)


def _support(ledger: Ledger, values: Iterable[float]) -> dict[float, float]:
    """Arithmetic evidence for each value."""
    paid, change = few(ledger.values("paid")), few(ledger.values("change"))
    rounding = few(round(r, 3) for r in (*ledger.values("rounding"), *_implied_rounding(ledger)) if r)
    owed = {_cents(p - c) for p in paid for c in change if c >= 0}
    exact = {_cents(p) for p in paid} if not change else set[int]()
    partial = few([v for v in ledger.values("total") if v > 0])
    halves = {_cents(a + b) for i, a in enumerate(partial) for b in partial[i + 1 :]}
    sums = _sums(ledger, [r for r in rounding if abs(r) < 1][:2])
    item_sum = sum(ledger.items)
    table_sum = sum(base + tax for base, tax in ledger.table)
    support: dict[float, float] = {}
    for value in values:
        cents = _cents(value)
        score = 0.6 if cents in owed else 0.3 if cents in exact else 0.0
        score += 0.35 if sums.get(cents, set()) - {cents} else 0.0
        score += 0.25 if item_sum and _close(item_sum, value) else 0.0
        score += 0.3 if cents in halves else 0.0
        score += 0.2 if table_sum and _close(table_sum, value, 0.021) else 0.0
        support[value] = score
    # What becomes another amount once tax or service is added was not the total yet.
    bases = {base for value in support for base in sums.get(_cents(value), ()) if base < _cents(value)}
    for value in support:
        support[value] -= 0.3 if _cents(value) in bases else 0.0
    wording: dict[float, float] = {}
    for segment in ledger.segments:
        for _, number in segment.money:
            key = round(number.value, 3)
            wording[key] = max(wording.get(key, 0.0), 0.0 if segment.table else segment.prior)
    _favour_rounded(support, rounding, wording)
    return support


def _implied_rounding(ledger: Ledger) -> list[float]:
    """What the totals right before and after a rounding say it was, whatever its own amount was read as."""
    implied: list[float] = []
    totals = [(i, s.money[-1][1].value) for i, s in enumerate(ledger.segments) if s.role == "total" and s.money]
    for i, segment in enumerate(ledger.segments):
        if segment.role != "rounding" or segment.table:
            continue
        before = next((value for k, value in reversed(totals) if k < i), None)
        after = next((value for k, value in totals if k > i), None)
        if before is not None and after is not None and 0 < abs(after - before) < 0.051:
            implied.append(after - before)
    return implied


def _sums(ledger: Ledger, rounding: Sequence[float]) -> dict[int, set[int]]:
    """Amount with tax, service or discount -> the amounts it may have been without, in cents."""
    taxes = [0.0, *few(ledger.values("tax"))]
    services = [0.0, *few(ledger.values("service_charge", "tip"))]
    discounts = [0.0, *few(abs(d) for d in ledger.values("discount"))]
    undiscounted = {*ledger.values("subtotal", "count")}
    sums: dict[int, set[int]] = {}
    for base in few(ledger.values("subtotal", "total", "count")):
        for tax, service, discount, change in itertools.product(
            taxes, services, discounts if base in undiscounted else (0.0,), (0.0, *rounding)
        ):
            if tax or service or discount:
                sums.setdefault(_cents(base + tax + service - discount + change), set()).add(_cents(base))
    return sums


def _favour_rounded(support: dict[float, float], rounding: Iterable[float], wording: Mapping[float, float]) -> None:
    """Of two amounts that differ by the rounding, the one after it is what is paid.

    The sign tells which that is, but is often lost: a clearly more final wording overrules it.
    """
    by_cents = {_cents(value): value for value in support}
    for change in rounding:
        for step, weight in ((change, 1.0), (-change, 0.5)):
            pairs = [(v, by_cents[_cents(v + step)]) for v in support if _cents(v + step) in by_cents]
            pairs = [(before, after) for before, after in pairs if before != after]
            for before, after in pairs:
                swapped = wording.get(before, 0.0) >= _FINAL > wording.get(after, 0.0)
                support[before if swapped else after] += 0.45 * weight
                support[after if swapped else before] -= 0.25 * weight
            if pairs:
                break


def few(values: Iterable[float]) -> list[float]:
    """Distinct values, the last ones: the summary stands at the end, and sums of many would take for ever."""
    return list(dict.fromkeys(values))[-_MOST:]


def _cents(value: float) -> int:
    return round(value * 100)


def _close(a: float, b: float, tolerance: float = 0.006) -> bool:
    return abs(a - b) <= tolerance + 1e-6 * abs(b)
