"""Labels for the amounts of the summary, once the total is known."""

from collections.abc import Sequence

from .board import Board
from .lexicon import Hit, Lexicon
from .numerals import CURRENCY, Number, Style, is_money
from .page import Row
from .segments import Segment
from .tax_lines import label_tax
from .taxes import TaxRow
from .totals import Candidate, Ledger, few, rank_totals


def label_total(
    board: Board, ledger: Ledger, rows: Sequence[Row], numbers: Sequence[list[Number]], style: Style
) -> Candidate | None:
    ranked = rank_totals(ledger)
    if ranked and ranked[0].score > 0.2:
        best = ranked[0]
        margin = best.score - next((c.score for c in ranked if not c.number.same(best.number.value)), 0.0)
        sure = 0.45 + 0.25 * min(max(best.score, 0.0), 1.4) + 0.2 * min(max(margin, 0.0), 0.75)
        board.put(best.row, range(best.number.start, best.number.end), "total", sure)
        return best
    return _largest(board, rows, numbers, style)


def _largest(board: Board, rows: Sequence[Row], numbers: Sequence[list[Number]], style: Style) -> Candidate | None:
    """Without any keyword: the largest amount, which is most often the total, and a low score."""
    money = [(n.value, row.number, row, n) for row in rows for n in numbers[row.number] if is_money(n, style)]
    if not money:
        return None
    _, _, row, number = max(money, key=lambda found: found[:2])
    board.put(row, range(number.start, number.end), "total", 0.3)
    return Candidate(0.0, Segment(row), row, number)


def label_amounts(
    board: Board,
    ledger: Ledger,
    numbers: Sequence[list[Number]],
    tables: Sequence[TaxRow],
    total: Candidate | None,
    kind: str,
) -> list[TaxRow]:
    """Every other amount of the summary: the last word for each role outside of the tax table.

    Returns the lines such as `GST 6% 1.25` that stand for a tax table where there is none; they are not labelled yet.
    """
    goal = total.number.value if total else None
    for role in ("subtotal", "discount", "service_charge", "rounding", "tip", "change"):
        chosen = _best(ledger, role, goal)
        if chosen is not None:
            row, number = chosen
            board.put(row, range(number.start, number.end), role, 0.8)
    paid = [s for s in ledger.segments if s.role == "paid" and s.money and not s.table]
    for segment in sorted(paid, key=lambda s: -_fits_payment(s, ledger, goal)):
        row, number = segment.money[-1]
        if board.put(row, range(number.start, number.end), "paid", 0.75):
            break
    lines = label_tax(board, ledger, numbers, tables, goal)
    if kind == "invoice":
        due = [s for s in ledger.segments if s.role == "amount_due" and s.money]
        for segment in due:
            row, number = segment.money[-1]
            if board.put(row, range(number.start, number.end), "amount_due", 0.8):
                break
    return lines


def _fits_payment(segment: Segment, ledger: Ledger, total: float | None) -> float:
    """How well an amount fits as what was handed over."""
    value = segment.money[-1][1].value
    if total is None or value <= 0:
        return -1.0
    score = 0.0
    if any(abs(value - change - total) < 0.006 for change in ledger.values("change")):
        score += 2.0
    if value >= total - 0.006:
        score += 1.0
    return score


def _best(ledger: Ledger, role: str, total: float | None) -> tuple[Row, Number] | None:
    """The amount of a role that fits the total best; the first of equals."""
    found: list[tuple[float, int, tuple[Row, Number]]] = []
    for order, segment in enumerate(ledger.segments):
        if (
            segment.table
            or not segment.money
            or (segment.role != role and not _is_subtotal(segment, ledger, role, total))
        ):
            continue
        row, number = segment.money[-1]
        score = 0.0
        if role == "subtotal" and total is not None:
            extra = [0.0, *few(ledger.values("tax", "service_charge"))]
            sums = {number.value + a + b for a in extra for b in extra}
            score += 0.5 if any(abs(s - total) < 0.051 for s in sums) else 0.0
            score -= 1.0 if number.value > total + 0.051 and not ledger.values("discount") else 0.0
        elif role == "rounding":
            score += 0.5 if abs(number.value) < 1 else 0.0
        elif number.value:
            score += 0.3
        found.append((score, -order, (row, number)))
    return max(found, key=lambda each: each[:2])[2] if found else None


def _is_subtotal(segment: Segment, ledger: Ledger, role: str, total: float | None) -> bool:
    """A `Total` to which tax or service is still added."""
    value = segment.value
    if role != "subtotal" or segment.role not in ("total", "count") or total is None or not value:
        return False
    added = [0.0, *few(ledger.values("tax"))]
    services = [0.0, *few(ledger.values("service_charge"))]
    discounts = [0.0, *few(-abs(d) for d in ledger.values("discount"))]
    return any(
        abs(value + a + b + c - total) < 0.051 for a in added for b in services for c in discounts if a or b or c
    )


def label_payment(board: Board, segments: Sequence[Segment], lexicon: Lexicon) -> None:
    """The words that say how it was paid: with an amount, else in the part below the items."""
    best: tuple[float, Row, range] | None = None
    for segment in segments:
        for hit in segment.hits:
            method = hit.classes & {"cash", "card"}
            if not method or segment.role == "change":
                continue
            score = 0.3 + (0.3 if "card" in method else 0.0)
            if segment.role in ("paid", "total") and segment.money:
                score += 1.0 if segment.value else -0.2
            elif hit.classes & {"filler", "title", "count"} or segment.row.has("thanks", "title"):
                continue
            score += 0.001 * segment.row.number
            if best is None or score > best[0]:
                best = (score, segment.row, range(hit.start, _end_of_method(segment.row, hit, lexicon)))
    if best is not None and best[0] > 0.3:
        board.put(best[1], best[2], "payment_method", 0.4 + 0.3 * best[0])


def _end_of_method(row: Row, hit: Hit, lexicon: Lexicon) -> int:
    """Of `cash tendered` only `cash` is the method, but both words of `credit card` are."""
    if hit.end - hit.start > 1 and not hit.term.endswith(("card", "karte", "credit", "debit")):
        alone = lexicon.find([row.tokens[hit.start].text])
        if alone and alone[0].classes & hit.classes & {"cash", "card"}:
            return hit.start + 1
    return hit.end


def label_currency(board: Board, rows: Sequence[Row], total: Candidate | None) -> None:
    """The currency at the total, else the first that stands alone as a word."""
    ordered = sorted(rows, key=lambda row: abs(row.number - total.row.number)) if total else rows
    for row in ordered:
        for position, token in enumerate(row.tokens):
            text = token.text.strip("():.,-*")
            if text and CURRENCY.fullmatch(text) and board.is_free(row, position) and not _is_company(row, position):
                board.put(row, [position], "currency", 0.85)
                return


def _is_company(row: Row, position: int) -> bool:
    """`RM` may be short for an Indonesian restaurant, `Rs` for many things: ask for an amount or a column beside it."""
    if row.tokens[position].text.startswith("("):
        return False
    near = row.tokens[max(position - 2, 0) : position + 2]
    return not any(char.isdigit() for token in near for char in token.text) and len(row.tokens) > 3
