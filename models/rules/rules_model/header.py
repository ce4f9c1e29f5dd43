"""Who sold it: the name of the shop, mostly at the top of the page, and its address."""

import re
from collections.abc import Sequence

from .address import OF_COMPANY, choose_block, find_blocks, is_registration, names_street
from .board import Board
from .cells import Cell, Part, cells_of
from .dates import find_dates
from .page import Row

_REGISTRATION = re.compile(
    r"[(\[]?(?:[A-Z]{0,3}\d{4,}[- ]?[A-Z]{0,2}\d*|\d{4,}[-A-Z]*)[)\]]?[.:]?|[(\[]\w{2,4}[)\]]", re.IGNORECASE
)
_LEGAL_FORM = re.compile(
    r"[(\[]?(?:m[)\]] ?)?(?:sdn\.? ?)?(?:bhd|ltd|inc|llc|gmbh|s/b|limited|sdn\.? bhd|co\. kg|ag|kg)\.?,?"
    r"(?: ?[(\[]?[\w\- ]{3,10}[)\]]?)?"
)
_SERIAL = re.compile(r"#\d+")
_MOST_ROWS = 14
_NUMBERED = ("phone", "fax", "tax_id", "reg_no", "receipt_no", "invoice_no", "date")


def find_store(rows: Sequence[Row], end: int, board: Board) -> tuple[list[Part], list[Part]]:
    """Name and address of the shop.

    Args:
        rows: all rows of the document.
        end: number of the row where the items start; neither is looked for below.
        board: what the words are already; the address of the buyer is not the shop's.
    """
    if not rows:
        return [], []
    cells = [
        Cell(row, positions)
        for row in rows[: min(end, _MOST_ROWS)]
        if row.page == rows[0].page
        for positions in cells_of(row)
    ]
    blocks = [block for block in find_blocks(cells) if all(_is_free(cells[i], board) for i in block[1])]
    inside = {i for score, block in blocks if score >= 2.0 for i in block if i != block[0] or names_street(cells[i])}
    named = [(score, i) for i in range(len(cells)) if (score := _name_score(cells, i, inside)) > 0]
    if not named:
        return [], choose_block(cells, blocks, -1)
    score, at = max(named, key=lambda pair: (pair[0], -pair[1]))
    chosen = _whole_name(cells, at)
    sure = min(0.45 + 0.12 * score, 0.9)
    name = [Part(cells[i].row, _without_registration(cells[i]), sure) for i in chosen]
    return name, choose_block(cells, blocks, chosen[-1])


def _is_free(cell: Cell, board: Board) -> bool:
    return all(board.is_free(cell.row, position) for position in cell.positions)


def _name_score(cells: Sequence[Cell], at: int, inside: set[int]) -> float:
    cell = cells[at]
    text = cell.text
    letters = sum(char.isalpha() for char in text)
    digits = sum(char.isdigit() for char in OF_COMPANY.sub("", text))
    if letters < 3 or digits > letters or find_dates(cell.row):
        return 0.0
    if re.search(r"www\.|https?:|@|\.com", text.lower()):
        return 0.0
    heights = sorted(other.height for other in cells)
    usual = heights[len(heights) // 2] or 1.0
    score = max(1.8 - 0.22 * at, 0.3) + min(max(cell.height / usual - 1.0, 0.0), 1.0)
    if cell.has("company"):
        score += (
            1.3
            if re.search(
                r"\b(?:sdn|bhd|s/b|ltd|gmbh|inc|llc|enterprise|trading|sarl|s\.?l\.?|pt|cong ty)\b", text.lower()
            )
            else 0.6
        )
    if not cell.is_street and _stands_above_address(cells, at):
        score += 0.6
    if at in inside and not cell.has("company"):
        score -= 1.5
    if cell.has("title", "thanks"):
        score -= 2.2 if not cell.has("company") else 0.8
    if cell.has("phone", "fax", "tax_id", "reg_no", "invoice_no", "receipt_no", "meta", "col_amount", "date", "buyer"):
        score -= 1.6
    if cell.is_street and not cell.has("company"):
        score -= 0.9 if digits or "," in text else 0.4
    if digits > 3:
        score -= 0.5
    if text.islower() or (len(cell.positions) == 1 and cell.has("paid", "cash", "sum")):
        score -= 0.9  # handwriting, a stamp
    if len(text) > 45:
        score -= 0.6
    return score


def _stands_above_address(cells: Sequence[Cell], at: int) -> bool:
    """Whether an address follows, right away or after the number of the company."""
    below = [cell for cell in cells[at + 1 : at + 5] if cell.row is not cells[at].row]
    for cell in below[:2]:
        if names_street(cell):
            return True
        if not is_registration(cell):
            break
    return False


def _whole_name(cells: Sequence[Cell], at: int) -> list[int]:
    """A long name runs over several rows: above a generic end such as `Trading`, below an open bracket."""
    chosen = [at]
    while chosen[0] and len(chosen) < 3 and _is_generic(cells[chosen[0]]) and _belongs(cells, chosen[0] - 1, chosen[0]):
        chosen.insert(0, chosen[0] - 1)
    while chosen[-1] + 1 < len(cells) and len(chosen) < 3 and _continues(cells, chosen[-1]):
        chosen.append(chosen[-1] + 1)
    return chosen


def _is_generic(cell: Cell) -> bool:
    """Nothing but words that many companies have in their names."""
    first, last = cell.positions[0], cell.positions[-1]
    known = {
        i
        for hit in cell.row.hits
        if first <= hit.start <= last and hit.classes & {"company", "filler", "street"}
        for i in range(hit.start, hit.end)
    }
    rest = [cell.row.tokens[i].text for i in cell.positions if i not in known]
    return cell.has("company") and sum(c.isalpha() for text in rest for c in text) <= (6 if "(" in cell.text else 1)


def _belongs(cells: Sequence[Cell], at: int, below: int) -> bool:
    """Whether a cell may be the row before of the same name."""
    cell, other = cells[at], cells[below]
    if (
        cell.row is other.row
        or cell.text.islower()
        or cell.has(*_NUMBERED, "title")
        or sum(c.isdigit() for c in cell.text) > 2
    ):
        return False
    near = other.row.y0 - cell.row.y1 < 1.2 * max(cell.height, other.height)
    return near and sum(c.isalpha() for c in cell.text) >= 3 and 0.55 < cell.height / max(other.height, 1e-6) < 1.9


def _continues(cells: Sequence[Cell], at: int) -> bool:
    """Whether the name goes on in the next row: a bracket is open, or only the legal form follows."""
    cell, after = cells[at], cells[at + 1]
    if after.row is cell.row or after.row.y0 - cell.row.y1 > 1.2 * max(cell.height, after.height):
        return False
    if cell.text.count("(") > cell.text.count(")") and ")" in after.text:
        return True
    return _LEGAL_FORM.fullmatch(after.text.lower()) is not None or after.text.lower().rstrip(". &").endswith(" &")


def _without_registration(cell: Cell) -> list[int]:
    kept = list(cell.positions)
    if len(kept) > 1 and _SERIAL.fullmatch(cell.row.tokens[kept[0]].text):
        del kept[0]
    while len(kept) > 1 and (
        _REGISTRATION.fullmatch(cell.row.tokens[kept[-1]].text)
        and any(c.isdigit() for i in kept[1:] for c in cell.row.tokens[i].text)
    ):
        kept.pop()
    return kept
