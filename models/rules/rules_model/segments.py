"""Rows as keyword and amount: what role an amount plays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .lexicon import Hit
from .numerals import Number, Style, is_money, is_weak_money
from .page import Row

_ROLE_CLASSES = frozenset(
    [
        "sum",
        "final",
        "due",
        "sub",
        "tax",
        "rounding",
        "discount",
        "service",
        "tip",
        "cash",
        "card",
        "paid",
        "change",
        "count",
    ]
)
_STRONG = frozenset({"sum", "final", "rounding"})


@dataclass(slots=True)
class Segment:
    """A keyword with the numbers that follow it in its row."""

    row: Row
    hits: list[Hit] = field(default_factory=list[Hit])
    numbers: list[Number] = field(default_factory=list[Number])
    """As they stand in the row, percentages and quantities too."""
    role: str = ""
    """Field name, `count`, or empty."""
    prior: float = 0.0
    """For totals: how final the wording is, 0..1."""
    money: list[tuple[Row, Number]] = field(default_factory=list[tuple[Row, Number]])
    """Its amounts, in the row or, when it has none, in the purely numeric row next to it."""
    table: bool = False
    """Whether it stands in a tax table."""

    @property
    def classes(self) -> set[str]:
        """Classes of all its terms."""
        return {name for hit in self.hits for name in hit.classes}

    @property
    def value(self) -> float | None:
        """Its last amount."""
        return self.money[-1][1].value if self.money else None


def segments_of(row: Row, numbers: Sequence[Number], style: Style) -> list[Segment]:
    """Cut a row where a keyword follows an amount, and name the role of each part."""
    segments = [Segment(row)]
    parts: list[tuple[int, Hit | Number]] = [(hit.start, hit) for hit in row.hits]
    parts += [(number.start, number) for number in numbers]
    for _, part in sorted(parts, key=lambda pair: (pair[0], isinstance(pair[1], Number))):
        current = segments[-1]
        if isinstance(part, Number):
            if part.decimals or part.grouped or not any(h.start <= part.start < h.end for h in current.hits):
                current.numbers.append(part)
            continue
        has_amount = any(is_money(n, style) for n in current.numbers) or (
            bool(current.hits) and any(not n.percent for n in current.numbers)
        )
        if has_amount and not part.classes.isdisjoint(_ROLE_CLASSES):
            segments.append(Segment(row, [part]))
        else:
            current.hits.append(part)
    for segment in segments:
        segment.role, segment.prior = _role(segment)
    return segments


def _role(segment: Segment) -> tuple[str, float]:
    """The role that the words give to an amount, and how final it sounds."""
    if "ignore" in segment.classes:
        return "", 0.0
    classes = segment.classes & (_ROLE_CLASSES | {"incl", "excl"})
    roles = classes & _ROLE_CLASSES
    if not roles:
        return "", 0.0
    coverage = _coverage(segment)
    if coverage < (0.3 if roles & _STRONG else 0.6):
        return "", 0.0
    counted = roles == {"count"} and any(number.start < segment.hits[0].start for number in segment.numbers)
    if counted and len(segment.numbers) > 1:
        return "", 0.0  # 1.000 Stk 20,99
    role, prior = _decide(segment, classes)
    return role, prior * (0.7 + 0.3 * coverage)


def _coverage(segment: Segment) -> float:
    """Share of the letters before the amounts that belong to known terms."""
    first = segment.hits[0].start
    money_at = max((n.start for n in segment.numbers), default=len(segment.row.tokens))
    last = max([hit.end for hit in segment.hits] + [money_at])
    known: set[int] = set()
    for hit in segment.hits:
        known.update(range(hit.start, hit.end))
    start = 0 if segment.row.hits and segment.hits[0] is segment.row.hits[0] else first
    letters = [
        (position in known, sum(char.isalpha() for char in segment.row.tokens[position].text))
        for position in range(start, min(last, len(segment.row.tokens)))
    ]
    total = sum(count for _, count in letters)
    return sum(count for is_known, count in letters if is_known) / total if total else 0.0


def _decide(segment: Segment, classes: set[str]) -> tuple[str, float]:  # noqa: PLR0911, PLR0912
    first = next(iter(segment.hits)).classes
    if "change" in classes:
        return "change", 0.0
    if "final" in classes:
        if "count" in classes:
            return "count", 0.0
        if "excl" in classes:
            return "subtotal", 0.3
        if "tax" in classes and "incl" not in classes and not first & {"final"}:
            return "tax", 0.0
        return "total", 1.0
    if "rounding" in classes:
        return "rounding", 0.0
    if "count" in classes and classes & {"sum", "sub"}:
        return "count", 0.2
    if "sum" in classes:
        if "discount" in classes:
            return "discount", 0.0
        if "excl" in classes:
            return "subtotal", 0.25
        if "sub" in classes:
            return "subtotal", 0.3
        if "tax" in classes and ("incl" not in classes or "tax" in first):
            return "tax", 0.1
        if "service" in classes:
            return "service_charge", 0.0
        if "due" in classes:
            return "total", 0.95
        if classes & {"paid", "cash", "card"}:
            return "total" if "sum" in first else "paid", 0.5
        # "Total 6 % supplies" is the total of one rate.
        if any(number.percent for number in segment.numbers) and segment.row.has("filler", "excl"):
            return "total", 0.6
        return "total", 0.9 if "incl" in classes else 0.8
    if "sub" in classes:
        return "subtotal", 0.3
    if "due" in classes:
        return "amount_due", 0.75
    for name, role in (
        ("service", "service_charge"),
        ("tax", "tax"),
        ("discount", "discount"),
        ("tip", "tip"),
        ("paid", "paid"),
        ("cash", "paid"),
        ("card", "paid"),
        ("count", "count"),
    ):
        if name in classes:
            return role, 0.2 if role == "paid" else 0.0
    return "", 0.0


def attach_money(
    segments: Sequence[Segment], rows: Sequence[Row], numbers: Sequence[list[Number]], style: Style
) -> None:
    """Give each keyword its amounts: beside it, else in a numeric row right below or above it."""
    taken: set[int] = set()
    named = {s.row.number for s in segments if s.role}
    firm = [s.row.number for s in segments if s.role in ("total", "subtotal", "change", "rounding") and s.numbers]
    for segment in segments:
        if (
            segment.role in ("discount", "service_charge", "tip", "count")
            and firm
            and segment.row.number > max(firm) + 3
        ):
            segment.role = ""  # an advertisement
    for segment in segments:
        # A currency may follow its number, so the keyword is what counts, and the last one if there are several.
        after = max((hit.start for hit in segment.hits if hit.classes & _ROLE_CLASSES), default=-1)
        beside = [
            n for n in segment.numbers if n.start > after or segment.role in ("tax", "service_charge", "discount")
        ]
        money = [n for n in beside if is_money(n, style)] or [
            n
            for n in beside
            if is_weak_money(n, style) or (segment.role == "rounding" and not n.decimals and not n.percent)
        ][-1:]
        segment.money = [(segment.row, n) for n in money]
    amounts = [s.money[-1][1].value for s in segments if s.money and s.role in ("total", "subtotal", "paid")]
    for segment in segments:
        value = segment.value
        if segment.role == "rounding" and value and any(v > 3 * abs(v - value) > 0 for v in amounts):
            # `Rounding 42.35` after `Total 42.33` is the rounded total.
            segment.role, segment.prior = "total", 0.85
        if _is_inner_tax(segment, numbers[segment.row.number], amounts):
            segment.role, segment.prior = "tax", 0.2
        if segment.money or not segment.role or segment.role == "count" or _has_broken_amount(segment):
            continue
        for step in (1, -1):
            at = segment.row.number + step
            if not 0 <= at < len(rows) or at in taken or not _near(segment.row, rows[at]):
                continue
            money = [n for n in numbers[at] if is_money(n, style)]
            if money and _numeric(rows[at]) and at not in named:
                segment.money = [(rows[at], n) for n in money]
                taken.add(at)
                break


def _is_inner_tax(segment: Segment, numbers: Sequence[Number], totals: Sequence[float]) -> bool:
    """`Total includes GST 6% 1.51` below `Total 26.70`: the wording of a total, the amount of the tax inside of it."""
    if segment.role != "total" or not segment.value or "tax" not in segment.classes:
        return False
    rates = [number.value for number in numbers if number.percent and number.value > 0]
    return any(abs(t - t / (1 + rate / 100) - segment.value) < 0.011 for rate in rates for t in totals)


def _has_broken_amount(segment: Segment) -> bool:
    """Whether something with a digit that is no amount follows the keyword: then it is not in another row."""
    last = max(hit.end for hit in segment.hits)
    return any(re.search(r"\d[.,]|[.,]\d", token.text) is not None for token in segment.row.tokens[last:])


def _near(a: Row, b: Row) -> bool:
    height = max(a.tokens[0].height, b.tokens[0].height)
    return a.page == b.page and max(a.y0, b.y0) - min(a.y1, b.y1) < 1.2 * height


def _numeric(row: Row) -> bool:
    """Whether nothing but an amount stands in a row; a currency or a tax code may stand at it."""
    known = {i for hit in row.hits if "filler" in hit.classes for i in range(hit.start, hit.end)}
    letters = sum(c.isalpha() for i, token in enumerate(row.tokens) if i not in known for c in token.text)
    digits = sum(char.isdigit() for token in row.tokens for char in token.text)
    return digits >= 2 and letters <= 4 and len(row.tokens) <= 4
