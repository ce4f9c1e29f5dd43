"""Numbers that name things, and the buyer: invoice number, tax number, IBAN, billing address."""

import re
from collections.abc import Iterator, Sequence

from .cells import Part, cells_of
from .dates import find_dates
from .items import is_head
from .page import Row

_REFERENCE = re.compile(r"[A-Z0-9][A-Z0-9\-/._#]*\d[A-Z0-9\-/._]*", re.IGNORECASE)
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2} ?(?:[A-Z0-9]{4} ?){2,7}[A-Z0-9]{1,4}(?![A-Z0-9])")
_TAX_ID = re.compile(
    r"(?:[A-Z]{2,3} ?)?\d[\dA-Z ./\-]{5,18}[\dA-Z]|[A-Z]{2}[A-Z0-9]{8,12}|[A-Z]\d{7,8}|[A-Z]{1,4}\d{6}[A-Z0-9]{3}"
)
_VAT_ID = re.compile(r"[A-Z]{2}[A-Z0-9]{2}\d{6,10}")
_BUYER_STOP = (
    "phone", "fax", "tax_id", "reg_no", "date", "due_date", "col_amount", "col_qty", "col_name", "col_code",
    "col_price", "invoice_no", "sum", "seller", "iban", "meta", "receipt_no", "thanks", "payment_terms",
)  # fmt: skip


def find_invoice_number(rows: Sequence[Row]) -> Part | None:
    """The first word with a digit after, or below, a term for the number of an invoice."""
    best: Part | None = None
    for row in rows:
        for hit in row.hits:
            if "invoice_no" not in hit.classes:
                continue
            exact = 0.3 if re.search(r"n[ro]?$|number|nummer|numero|num|id$|#", hit.term) else 0.0
            for score, found in _references(rows, row, hit.start, hit.end):
                total = score + exact - 0.005 * min(row.number, 40)
                if best is None or total > best.score:
                    best = Part(found.row, found.positions, total)
    if best is not None:
        best.score = min(best.score, 0.9)
    return best


def _references(rows: Sequence[Row], row: Row, start: int, end: int) -> Iterator[tuple[float, Part]]:
    """Candidates beside (0.55) and below (0.4) a keyword."""
    dates = _dated(row)
    for i in range(end, min(end + 4, len(row.tokens))):
        text = row.tokens[i].text.strip(":#()")
        if i not in dates and _is_reference(text) and not row.tokens[i].text.startswith("("):
            yield 0.55, Part(row, [i], 0.0)
            return
        if len(text) > 3 and not any(hit.start <= i < hit.end for hit in row.hits):
            break
    if row.number + 1 < len(rows) and rows[row.number + 1].page == row.page:
        below = rows[row.number + 1]
        taken = _dated(below)
        left, right = row.tokens[start].x0, row.tokens[end - 1].x1
        for i, token in enumerate(below.tokens):
            meets = min(right, token.x1) - max(left, token.x0) > 0
            if meets and i not in taken and _is_reference(token.text.strip(":#()")):
                yield 0.4, Part(below, [i], 0.0)
                return


def _dated(row: Row) -> set[int]:
    return {i for found in find_dates(row) if found.weight > 0 for i in row.tokens_at(found.start, found.end)}


def _is_reference(text: str) -> bool:
    digits = sum(c.isdigit() for c in text)
    if not _REFERENCE.fullmatch(text) or digits < 1 or len(text) < 2:
        return False
    return not re.fullmatch(r"\d+[.,]\d\d|\d{1,2}:\d\d.*", text)


def find_tax_id(rows: Sequence[Row]) -> Part | None:
    """The first number after a term for a tax number, of the seller if the document says whose it is."""
    found: list[Part] = []
    for row in rows:
        for hit in row.hits:
            if not hit.classes & {"tax_id", "tax"}:
                continue
            at = row.starts[hit.end - 1] + len(row.tokens[hit.end - 1].text)
            match = _TAX_ID.search(row.text, max(at - 1, 0), at + 40)
            if match is None or sum(c.isdigit() for c in match.group()) < 6:
                continue
            is_vat_id = _VAT_ID.fullmatch(match.group().replace(" ", "")) is not None
            if "tax_id" not in hit.classes and not is_vat_id:
                continue
            positions = [i for i in row.tokens_at(match.start(), match.end()) if i >= hit.end - 1]
            buyer = row.has("buyer") or "client" in row.text.lower()
            score = (0.5 if buyer else 0.85) - 0.003 * min(row.number, 60) + (0.1 if is_vat_id else 0.0)
            if positions:
                found.append(Part(row, positions, score))
    return max(found, key=lambda part: part.score, default=None)


def find_iban(rows: Sequence[Row]) -> Part | None:
    """The first IBAN whose check digits are right (ISO 7064, mod 97-10); else, less sure, one that is called so."""
    named: Part | None = None
    for row in rows:
        for match in _IBAN.finditer(row.text):
            for end in _ends(match.group()):
                if _is_iban(match.group()[:end]):
                    positions = row.tokens_at(match.start(), match.start() + end)
                    return Part(row, positions, 0.98)
            if row.has("iban") and named is None and match.group()[2:4].isdigit():
                named = Part(row, row.tokens_at(match.start(), match.end()), 0.5)
    return named


def _ends(text: str) -> Iterator[int]:
    """The whole, then without the last groups, which may belong to the next word."""
    end = len(text)
    while end >= 15:
        yield end
        end = text.rfind(" ", 0, end)


def _is_iban(text: str) -> bool:
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


def find_party(rows: Sequence[Row], who: str) -> tuple[list[Part], list[Part]]:
    """Name and address below, or beside, a term such as `Bill to`.

    Args:
        rows: all rows of the document.
        who: `buyer` or `seller`, a class of terms.
    """
    for row in rows[:60]:
        for hit in row.hits:
            if who not in hit.classes or (hit.start and not _starts_cell(row, hit.start)):
                continue
            if who == "seller" and not row.tokens[hit.end - 1].text.endswith(":") and hit.end < len(row.tokens):
                continue
            block = _block(rows, row, hit.start, hit.end)
            if block:
                return block[:1], block[1:]
    return [], []


def _starts_cell(row: Row, position: int) -> bool:
    return any(cell[0] == position for cell in cells_of(row))


def _block(rows: Sequence[Row], row: Row, start: int, end: int) -> list[Part]:
    """The words right of a keyword, then the cells below that begin where it, or they, begin."""
    own = next((cell for cell in cells_of(row) if start in cell), list[int]())
    beside = [i for i in own if i >= end and any(c.isalpha() for c in row.tokens[i].text)]
    parts = [Part(row, beside, 0.6)] if sum(len(row.tokens[i].text) for i in beside) > 3 else []
    left = row.tokens[beside[0] if parts else start].x0
    keyword_left = row.tokens[start].x0
    height = row.tokens[start].height
    for below in rows[row.number + 1 : row.number + 8]:
        if below.page != row.page or is_head(below) or (parts and below.y0 - parts[-1].row.y1 > 2.5 * height):
            break
        cells = cells_of(below)
        at = next(
            (
                k
                for k, cell in enumerate(cells)
                if min(abs(below.tokens[cell[0]].x0 - x) for x in (left, keyword_left)) < 2.5 * height
            ),
            None,
        )
        cell = None if at is None else cells[at]
        if cell is None or at is None:
            if parts:
                break
            continue
        first, last = cell[0], cell[-1]
        if any(first <= h.start <= last and not h.classes.isdisjoint(_BUYER_STOP) for h in below.hits):
            if parts:
                break
            continue
        labels = [h for h in below.hits if h.start == first and h.classes & {"name_label", "address_label"}]
        cell = [i for i in cell if not labels or i >= labels[0].end]
        if labels and not cell and at + 1 < len(cells):
            cell = cells[at + 1]
        if sum(c.isalpha() for i in cell for c in below.tokens[i].text) < 3:
            continue
        parts.append(Part(below, cell, 0.55))
        if len(parts) == 5:
            break
    return parts
