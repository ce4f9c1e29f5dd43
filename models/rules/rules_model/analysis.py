"""From rows to labels: finds each field in turn and writes it on the board."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .amounts import label_amounts, label_currency, label_payment, label_total
from .board import Board
from .cells import Part
from .dates import find_dates, rank_dates, rank_times, spans
from .header import find_store
from .items import LineItem, find_items
from .language import kind_of, language_of
from .lexicon import Lexicon
from .numerals import Number, Style, find_numbers, is_money, style_of
from .page import Row
from .phones import find_phone
from .references import find_iban, find_invoice_number, find_party, find_tax_id
from .segments import Segment, attach_money, segments_of
from .taxes import TaxRow, find_tables
from .totals import Ledger


@dataclass(slots=True)
class Reading:
    """What was made out of a document."""

    board: Board
    kind: str
    language: str


def analyse(
    rows: Sequence[Row],
    count: int,
    page_size: Sequence[tuple[int, int]],
    lexicon: Lexicon,
    *,
    kind: str = "",
    language: str = "",
) -> Reading:
    """Label the words of a document.

    Args:
        rows: the rows of all pages, top to bottom.
        count: words in the request.
        page_size: (width, height) of each page, px.
        lexicon: the terms.
        kind: `receipt` or `invoice` if it is known.
        language: ISO 639-1 if it is known.
    """
    for row in rows:
        row.hits = lexicon.find([token.text for token in row.tokens], language or "en", row.gaps)
    if not language:
        language = language_of(rows, lexicon)
        if language not in ("", "en"):
            for row in rows:
                row.hits = lexicon.find([token.text for token in row.tokens], language, row.gaps)
    kind = kind or kind_of(rows, page_size)
    board = Board(count)
    style = style_of(rows)
    numbers = [_without_dates(row, find_numbers(row, style)) for row in rows]
    tables, members = find_tables(rows, numbers, style)
    segments = [segment for row in rows for segment in segments_of(row, numbers[row.number], style)]
    for segment in segments:
        segment.table = segment.row.number in members
    attach_money(segments, rows, numbers, style)
    items = find_items(rows, numbers, segments, style, members)
    _label_dates(board, rows, kind)
    _label_references(board, rows, kind)
    ledger = Ledger(
        segments,
        [item.amount for item in items if item.amount is not None],
        table=[(table.base, table.amount.value) for table in tables if not table.is_sum],
        orphans=_orphans(segments, items, style),
    )
    total = label_total(board, ledger, rows, numbers, style)
    lines = label_amounts(board, ledger, numbers, tables, total, kind)
    _label_taxes(board, [*tables, *lines], len(items))
    label_payment(board, segments, lexicon)
    label_currency(board, rows, total)
    first = min((number for item in items for number in item.rows), default=len(rows))
    _label_items(board, items)
    _label_head(board, rows, first)
    return Reading(board, kind, language)


def _orphans(segments: Sequence[Segment], items: Sequence[LineItem], style: Style) -> list[tuple[Row, Number]]:
    """Amounts below the last item whose keyword was misread."""
    last = max((number for item in items for number in item.rows), default=-1)
    return [
        (segment.row, number)
        for segment in segments
        if not segment.role and not segment.table and segment.row.number > last >= 0
        for number in segment.numbers
        if is_money(number, style)
    ]


def _without_dates(row: Row, numbers: list[Number]) -> list[Number]:
    """Numbers that are not part of a date such as 12.03.18."""
    if not numbers:
        return numbers
    dates = {i for found in find_dates(row) if found.weight > 0 for i in row.tokens_at(found.start, found.end)}
    return [
        number for number in numbers if dates.isdisjoint(range(number.start, number.end)) and not _is_hour(row, number)
    ]


def _is_hour(row: Row, number: Number) -> bool:
    """`9.00 Uhr`, as opening hours are printed."""
    after = row.tokens[number.end].text.lower().strip(".,") if number.end < len(row.tokens) else ""
    return after in ("uhr", "hrs", "am", "pm", "h")


def _put_parts(board: Board, label: str, parts: Iterable[Part]) -> None:
    for part in parts:
        free = [position for position in part.positions if board.is_free(part.row, position)]
        board.put(part.row, free, label, part.score)


def _label_dates(board: Board, rows: Sequence[Row], kind: str) -> None:
    due = [pair for pair in rank_dates(rows, due=True) if pair[0] > 0]
    if due and kind == "invoice":
        score, found = due[0]
        board.put(found.row, spans(found), "due_date", 0.5 + 0.1 * score)
    ranked = rank_dates(rows)
    date = None
    for score, found in ranked:
        if score > -1.75 and board.put(found.row, spans(found), "date", 0.6 + 0.1 * score):
            date = found
            break
    for score, found in rank_times(rows, date):
        if score > 0.9 and board.put(found.row, spans(found), "time", 0.5 + 0.12 * score):
            break


def _label_references(board: Board, rows: Sequence[Row], kind: str) -> None:
    for label, part in (
        ("iban", find_iban(rows)),
        ("seller_tax_id", find_tax_id(rows)),
        ("invoice_number", find_invoice_number(rows)),
        ("phone", find_phone(rows)),
    ):
        if part is not None:
            _put_parts(board, label, [part])
    if kind == "invoice":
        for who, field in (("buyer", "buyer"), ("seller", "store")):
            name, address = find_party(rows, who)
            _put_parts(board, f"{field}_name", name)
            _put_parts(board, f"{field}_address", address)


def _label_head(board: Board, rows: Sequence[Row], end: int) -> None:
    if "store_name" in board.labels:
        return
    name, address = find_store(rows, end, board)
    _put_parts(board, "store_name", name)
    _put_parts(board, "store_address", address)


def _label_items(board: Board, items: Sequence[LineItem]) -> None:
    """Label the items, with a group number each that is less than how many there are."""
    group = 0
    for item in items:
        placed = False
        for key, words in item.words.items():
            for row in dict.fromkeys(id(row) for row, _ in words):
                chosen = [(r, position) for r, position in words if id(r) == row]
                free = [position for r, position in chosen if board.is_free(r, position)]
                placed |= board.put(chosen[0][0], free, f"item.{key}", 0.75, group)
        group += placed


def _label_taxes(board: Board, tables: Sequence[TaxRow], group: int) -> None:
    for table in tables:
        if table.is_sum:
            continue
        placed = board.put(table.row, range(table.amount.start, table.amount.end), "tax.amount", 0.8, group)
        if table.rate is not None:
            row = table.rate_row or table.row
            placed |= board.put(row, range(table.rate.start, table.rate.end), "tax.rate", 0.8, group)
        group += placed
