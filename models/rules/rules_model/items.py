"""Line items: rows with an amount between the head of the page and its summary."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from .dates import find_dates
from .item_lines import ItemLine, read_line
from .numerals import Number, Style, is_money
from .page import Row
from .segments import Segment

_ABOUT = frozenset({"phone", "tax_id", "reg_no", "date", "meta", "receipt_no", "invoice_no"})
_COLUMNS = ("col_name", "col_qty", "col_price", "col_amount", "col_discount", "col_code", "col_tax")
_WORD = re.compile(r"[^\W\d_]{3}")


@dataclass(slots=True)
class LineItem:
    """Words of one line item: (row, position) for each key."""

    words: dict[str, list[tuple[Row, int]]] = field(default_factory=dict[str, list[tuple[Row, int]]])
    amount: float | None = None
    count: float | None = None
    """Its quantity."""
    rows: list[int] = field(default_factory=list[int])
    """Numbers of the rows it stands in."""

    def add(self, key: str, row: Row, positions: Sequence[int]) -> None:
        """Add words to a key."""
        self.words.setdefault(key, []).extend((row, position) for position in positions)
        if row.number not in self.rows:
            self.rows.append(row.number)

    def has(self, key: str) -> bool:
        """Whether a key has words."""
        return key in self.words


def find_items(
    rows: Sequence[Row], numbers: Sequence[list[Number]], segments: Sequence[Segment], style: Style, skip: set[int]
) -> list[LineItem]:
    """Line items from top to bottom. `skip` are rows that belong to something else, e.g. the tax table."""
    start, end = _region(rows, numbers, segments, style, skip)
    roles = {s.row.number for s in segments if s.role}
    lines = [
        read_line(rows[at], numbers[at], style)
        for at in range(start, end)
        if at not in skip and at not in roles and not is_head(rows[at])
    ]
    items = _assemble(lines, style, has_head=start > 0)
    _add_discounts(items, segments, start, end)
    return items


def _region(
    rows: Sequence[Row], numbers: Sequence[list[Number]], segments: Sequence[Segment], style: Style, skip: set[int]
) -> tuple[int, int]:
    """First row of the items and one past the last."""
    head = 0
    sums = [s.row.number for s in segments if s.role in ("total", "subtotal") and s.money and s.row.number not in skip]
    for row in rows[: min(sums, default=len(rows))]:
        money = any(is_money(number, style) for number in numbers[row.number])
        if not money and row.number not in skip and is_head(row):
            head = row.number + 1
            break
    with_money = {at for at, found in enumerate(numbers) if any(is_money(n, style) for n in found)}
    ends = [
        s.row.number
        for s in segments
        if s.role and s.money and s.role not in ("discount", "count") and s.row.number > head
    ]
    ends = [at for at in ends if any(head <= m < at for m in with_money)]
    ends += [at for at in skip if at > head]
    return head, min(ends, default=len(rows))


def is_head(row: Row) -> bool:
    """Whether a row names columns: at least two of them and hardly any other word."""
    kinds: set[str] = set()
    covered: set[int] = set()
    for hit in row.hits:
        columns = hit.classes.intersection(_COLUMNS)
        if columns or hit.classes & {"filler", "tax", "sum"}:
            covered.update(range(hit.start, hit.end))
        if columns:
            kinds.add(hit.term)
    words = [i for i, token in enumerate(row.tokens) if any(c.isalpha() for c in token.text)]
    digits = sum(any(c.isdigit() for c in token.text) for token in row.tokens)
    if len(kinds) < 2 or digits > 1:
        return False
    return sum(i in covered for i in words) >= 0.6 * len(words)


def _assemble(lines: Sequence[ItemLine], style: Style, *, has_head: bool) -> list[LineItem]:
    """Items out of lines; a line with an amount but no name takes the lines above it, or else below it."""
    nameless = [k for k, line in enumerate(lines) if line.money and not line.has_name]
    above = bool(nameless) and _names_stand_above(lines, nameless, has_head=has_head)
    items: list[LineItem] = []
    pending: list[ItemLine] = []
    announced: ItemLine | None = None
    for k, line in enumerate(lines):
        if not line.money:
            pending.append(line)
            continue
        if not line.has_name and items and _extends(items[-1], line, pending):
            continue
        if k + 1 < len(lines) and _multiplies(line, lines[k + 1]):
            announced = line
            continue
        item = LineItem()
        if not line.has_name:
            names = _last_block(pending) if above else _first_block(lines, k)
            worded = any(_WORD.search(other.row.text) for other in names)
            for other in names:
                # A line of numbers and marks below a name is a code of the maker.
                if not worded or _WORD.search(other.row.text):
                    _take_text(item, other)
                    _take_numbers(item, other)
        elif pending and _announces(pending[-1], line):
            _take_numbers(item, pending[-1])
        _fill(item, line, style)
        if announced is not None:
            _take_numbers(item, announced)
            price = announced.money[-1]
            item.add("unit_price", announced.row, range(price.start, price.end))
        pending, announced = [], None
        if item.has("name") or item.has("code") or item.has("quantity"):
            items.append(item)
    return items


def _names_stand_above(lines: Sequence[ItemLine], nameless: Sequence[int], *, has_head: bool) -> bool:
    """Whether names come before the rows with their amounts.

    Below a head of columns the first line tells. Without one, anything may stand above the first item, but hardly
    anything but a name between the last item and the summary.
    """
    if has_head:
        return next((not line.money for line in lines if line.money or line.has_name), True)
    last = nameless[-1]
    follows = last + 1 < len(lines) and not lines[last + 1].money and lines[last + 1].has_name
    return not (follows and _adjacent(lines[last], lines[last + 1]))


def _adjacent(above: ItemLine, below: ItemLine) -> bool:
    return below.row.y0 - above.row.y1 <= 1.5 * above.row.tokens[0].height


def _last_block(pending: Sequence[ItemLine]) -> list[ItemLine]:
    """The lines right above, up to three, that hang together."""
    block: list[ItemLine] = []
    for line in reversed(pending):
        if block and block[0].row.y0 - line.row.y1 > 1.5 * line.row.tokens[0].height:
            break
        if line.row.has("title", "thanks") or _is_about(line.row) or find_dates(line.row):
            break
        block.insert(0, line)
        if len(block) == 3:
            break
    return block


def _is_about(row: Row) -> bool:
    """Whether a row tells something of the sale as a whole, such as its number or the cashier."""
    first = row.hits[0] if row.hits else None
    numbered = any(char.isdigit() for char in row.text)
    return first is not None and numbered and first.start == 0 and len(first.term) > 2 and bool(first.classes & _ABOUT)


def _first_block(lines: Sequence[ItemLine], at: int) -> list[ItemLine]:
    """The lines right below, up to the next amount."""
    block: list[ItemLine] = []
    for line in lines[at + 1 : at + 3]:
        if line.money:
            break
        block.append(line)
    return block


def _extends(item: LineItem, line: ItemLine, pending: Sequence[ItemLine]) -> bool:
    """Quantity and unit price of the item before (`@2 X RM 10.40`), or its amount printed once more."""
    if item.amount is None or any(p.has_name for p in pending):
        return False
    if len(line.money) == 1 and line.money[0].same(item.amount) and not line.code and not item.has("unit_price"):
        return True
    count = line.quantity_value or (item.count if line.times else None)
    if count and not item.has("unit_price"):
        for number in line.money:
            if abs(number.value * count - item.amount) < 0.011:
                if line.quantity and not item.has("quantity"):
                    item.add("quantity", line.row, line.quantity)
                item.add("unit_price", line.row, range(number.start, number.end))
                return True
    return False


def _multiplies(line: ItemLine, item: ItemLine) -> bool:
    """Whether a line without name, `2 x 0,75`, is quantity and unit price of the one below, `Mundwasser 1,50`."""
    if line.has_name or line.quantity_value is None or not item.money or not item.has_name or len(line.money) != 1:
        return False
    return abs(line.money[0].value * line.quantity_value - item.money[-1].value) < 0.011


def _announces(line: ItemLine, item: ItemLine) -> bool:
    """Whether a line holds only quantity and unit price of the item in the next one."""
    return not line.has_name and line.quantity_value is not None and line.times and bool(item.money)


def _take_text(item: LineItem, line: ItemLine) -> None:
    if line.name and line.has_name:
        item.add("name", line.row, line.name)
    if line.code and not item.has("code"):
        item.add("code", line.row, line.code)


def _take_numbers(item: LineItem, line: ItemLine) -> None:
    if line.quantity and not item.has("quantity"):
        item.add("quantity", line.row, line.quantity)


def _fill(item: LineItem, line: ItemLine, style: Style) -> None:
    """Name, code, quantity, unit price and amount of one line."""
    amount = line.money[-1]
    row = line.row
    _take_text(item, line)
    item.add("amount", row, range(amount.start, amount.end))
    item.amount = amount.value
    others = [n for n in line.numbers if n is not amount and n.end <= amount.start and not n.percent]
    pair = _factors(others, amount.value)
    if pair is not None:
        quantity, price = pair
        _replace(item, "quantity", row, range(quantity.start, quantity.end))
        _replace(item, "unit_price", row, range(price.start, price.end))
        item.count = quantity.value
        return
    if line.quantity and not item.has("quantity"):
        item.add("quantity", row, line.quantity)
        item.count = line.quantity_value
    prices = [n for n in line.money[:-1] if n.value >= 0 and n.start not in line.quantity]
    if prices:
        item.add("unit_price", row, range(prices[0].start, prices[0].end))


def _replace(item: LineItem, key: str, row: Row, positions: range) -> None:
    item.words.pop(key, None)
    for other in ("name", "code"):
        kept = [(r, p) for r, p in item.words.get(other, []) if r is not row or p not in positions]
        if other in item.words and kept:
            item.words[other] = kept
        else:
            item.words.pop(other, None)
    item.add(key, row, positions)


def _factors(numbers: Sequence[Number], amount: float) -> tuple[Number, Number] | None:
    """Quantity and unit price whose product is the amount; the quantity usually stands first."""
    for first in numbers:
        for second in numbers:
            if first is second or first.start >= second.start:
                continue
            if (
                abs(first.value * second.value - amount) <= 0.006 + 0.0005 * abs(amount)
                and first.value
                and second.value
            ):
                price_first = first.decimals == 2 and second.decimals == 0
                return (second, first) if price_first and first.value != 1 else (first, second)
    return None


def _add_discounts(items: Sequence[LineItem], segments: Sequence[Segment], start: int, end: int) -> None:
    """A discount between the items belongs to the one above it."""
    for segment in segments:
        if segment.role != "discount" or not start <= segment.row.number < end or not segment.money:
            continue
        before = [item for item in items if item.rows and max(item.rows) < segment.row.number]
        if before and not before[-1].has("discount"):
            row, number = segment.money[-1]
            before[-1].add("discount", row, range(number.start, number.end))
