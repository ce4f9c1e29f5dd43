"""Blocks of rows that are an address, and which of them is the shop's."""

import re
from collections.abc import Sequence

from .cells import Cell, Part
from .dates import find_dates, find_times

_POSTCODE = re.compile(r"(?<!\w)(?:[A-Z]{1,2}[- ])?\d{4,6}(?!\w)|\b[A-Z]{1,2}\d[\dA-Z]? \d[A-Z]{2}\b")
_LEGAL = re.compile(
    r"\b(?:sdn|bhd|gmbh|s/b|pte\.? ltd|pty\.? ltd|ltd|llc|inc|plc|sarl|e\.?k|co\.? kg)\b(?!.*,.*\d)", re.IGNORECASE
)
_REGISTRATION = re.compile(
    r"[(\[](?:[A-Za-z]{2,3}\.? ?)?[A-Z]{0,3}\d{4,}[- ]?[A-Z]{0,2}[)\]]?|[A-Z]{0,3}\d{5,}[- ][A-Z]{1,2}|[\d ]{7,}"
)
_KEYED = re.compile(r"[A-Za-z. ]{2,20}[:#]\s*[#\w\-]*\d[\w\-]*")
_HOTLINE = re.compile(r"(?<!\d)1[- ]?[38]00[- ]\d{2}|care ?l[il]ne|hot ?l[il]ne", re.IGNORECASE)
_WEB = re.compile(r"@|www\.|https?:|\.(?:com|net|org)\b", re.IGNORECASE)
_MONEY = re.compile(r"\d[.,]\d\d(?!\d)")
_NUMBERED = re.compile(r"(?:no|lot|unit|blk|block|suite|shop|level|ground)\b|[A-Z]{0,3}[-.]?\d", re.IGNORECASE)
OF_COMPANY = re.compile(r"[(\[][A-Z]{0,3}\d{4,}[- ]?[A-Z]{0,2}[)\]]")
_COUNTRY = re.compile(
    r"\b(?:malaysia|singapore|indonesia|viet ?nam|thailand|philippines|usa|u\.s\.a\.|united (?:states|kingdom)|england"
    r"|ireland|canada|australia|deutschland|germany|[öo]sterreich|austria|schweiz|suisse|switzerland|france|belgi\w+"
    r"|nederland|netherlands|espa[ñn]a|spain|portugal|brasil|italia|italy|m[ée]xico)\W*$",
    re.IGNORECASE,
)
_STOP = (
    "phone", "fax", "tax_id", "reg_no", "title", "receipt_no", "invoice_no", "date", "time", "meta", "cash",
    "card", "thanks", "col_amount", "col_qty", "count", "sum", "due_date", "iban", "bank", "payment_terms",
    "buyer",
)  # fmt: skip
_HARD_STOP = ("phone", "fax", "tax_id", "reg_no", "title", "date", "thanks")
_KEYS = ("receipt_no", "invoice_no", "meta")
_MOST_ROWS = 7
_FIRM = 1.9


def cues(cell: Cell) -> float:
    """How much a cell looks like a row of an address; 0.9 and more is one."""
    text = cell.text
    letters = sum(char.isalpha() for char in text)
    if letters < 3 or _is_else(cell, text):
        return 0.0
    score = 1.0 if cell.is_street else 0.0
    score += 0.7 if _POSTCODE.search(text) else 0.0
    score += 0.4 if "," in text else 0.0
    score += 0.5 if any(char.isdigit() for char in text) else 0.0
    return score - 1.0 if _is_keyed(cell, *_KEYS) else score


def names_street(cell: Cell) -> bool:
    """Whether a cell is unmistakably a row of an address."""
    text = cell.text
    return cues(cell) >= 1.4 and (cell.is_street or "," in text)


def is_registration(cell: Cell) -> bool:
    """Whether a cell holds nothing but the number of a company, or says what that is."""
    return _REGISTRATION.fullmatch(cell.text.strip(" .:")) is not None or cell.has("reg_no", "tax_id")


def find_blocks(cells: Sequence[Cell]) -> list[tuple[float, list[int]]]:
    """Runs of cells that are an address, as (score, indices), top to bottom."""
    blocks: list[tuple[float, list[int]]] = []
    at = 0
    while at < len(cells):
        if cues(cells[at]) < 0.9:
            at += 1
            continue
        block = _grow(cells, at)
        at = block[-1] + 1
        kept = _without_title(cells, block)
        blocks.append((_score(cells, kept), kept))
    return blocks


def choose_block(cells: Sequence[Cell], blocks: Sequence[tuple[float, list[int]]], after: int) -> list[Part]:
    """The shop's address: the first firm block below its name, else a firm one above it, else the best.

    Args:
        cells: the cells of the head of the page.
        blocks: what `find_blocks` found in them.
        after: index of the last cell of the name, -1 if there is none.
    """
    below = [(score, block) for score, block in blocks if block[0] > after]
    others = [(score, block) for score, block in blocks if block[0] <= after and after not in block]
    best = next((pair for pair in below if pair[0] >= _FIRM), max(below, key=lambda pair: pair[0], default=None))
    if best is None or best[0] < _FIRM:
        best = max((b for b in others if b[0] >= _FIRM), key=lambda pair: pair[0], default=best)
    if best is None:
        return []
    return [Part(cells[i].row, cells[i].positions, 0.75 if i == best[1][0] else 0.7) for i in best[1]]


def _grow(cells: Sequence[Cell], at: int) -> list[int]:
    block = [at]
    for i in range(at + 1, len(cells)):
        last, cell = cells[block[-1]], cells[i]
        if cell.row.y0 - last.row.y1 > 1.6 * last.height or len(block) == _MOST_ROWS:
            break
        if len(cell.row.tokens) > len(cell.positions) and sum(char.isalpha() for char in cell.text) < 2:
            continue  # a stray mark in the margin
        if _COUNTRY.search(last.text) or _is_other(cell) or not (cues(cell) >= 0.9 or _short_place(cell)):
            break
        block.append(i)
    return block


def _without_title(cells: Sequence[Cell], block: list[int]) -> list[int]:
    """Without the name of the branch above the row that starts with the number of the house."""
    if len(block) < 2:
        return block
    first, second = cells[block[0]], cells[block[1]]
    opens = any(hit.start == first.positions[0] and "street" in hit.classes for hit in first.row.hits)
    plain = "," not in first.text and not _NUMBERED.match(first.text) and not opens
    return block[1:] if plain and _NUMBERED.match(second.text) and names_street(second) else block


def _score(cells: Sequence[Cell], block: Sequence[int]) -> float:
    streets = any(cells[i].is_street for i in block)
    text = " ".join(cells[i].text for i in block)
    score = 1.0 if streets else 0.0
    score += 0.8 if any(_POSTCODE.search(cells[i].text) for i in block) else 0.0
    score += 0.5 if any(char.isdigit() for char in text) else 0.0
    return score + (0.3 if "," in text else 0.0) + 0.15 * min(len(block), 4)


def _is_else(cell: Cell, text: str) -> bool:
    """Whether a cell is another thing that has digits and letters as well."""
    if cell.has("phone", "fax", "tax_id", "reg_no", "date", "time", "title", "thanks") and not (
        cell.has("street") and "," in text
    ):
        return True
    if (
        _WEB.search(text)
        or _HOTLINE.search(text)
        or _LEGAL.search(text)
        or OF_COMPANY.search(text)
        or is_registration(cell)
    ):
        return True
    if not cell.is_street and (_KEYED.fullmatch(text) or find_dates(cell.row) or find_times(cell.row)):
        return True
    return _is_priced(cell)


def _is_priced(cell: Cell) -> bool:
    """Whether an amount stands at the end of its row: then it is an item."""
    apart = cell.positions[-1] != len(cell.row.tokens) - 1
    return (apart or not cell.is_street) and any(_MONEY.search(token.text) for token in cell.row.tokens[-2:])


def _is_keyed(cell: Cell, *classes: str) -> bool:
    """Whether a term of these classes, with a colon or a number after it, opens the cell."""
    first, last = cell.positions[0], cell.positions[-1]
    for hit in cell.row.hits:
        if hit.start != first or hit.classes.isdisjoint(classes):
            continue
        after = cell.row.tokens[hit.end].text if hit.end <= last else ""
        if cell.row.tokens[hit.end - 1].text.endswith((":", "#")) or after[:1] in (":", "#") or after[:1].isdigit():
            return True
    return False


def _is_other(cell: Cell) -> bool:
    if _is_else(cell, cell.text) or _is_keyed(cell, *_KEYS):
        return True
    if not cell.has(*_STOP):
        return False
    return not cell.has("street") or cell.has(*_HARD_STOP)


def _short_place(cell: Cell) -> bool:
    """A town or a state alone in its row."""
    text = cell.text
    letters = sum(c.isalpha() for c in text)
    return letters >= 3 and letters >= 0.6 * len(text.replace(" ", "")) and len(text) <= 40
