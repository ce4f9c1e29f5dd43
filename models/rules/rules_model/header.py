"""Who sold it: name, address, phone number and tax number, mostly at the top of the page."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .dates import find_dates
from .page import Row

_PHONE = re.compile(r"(?<![\w.])\+?\(?\d[\d\s\-().+/~]{5,18}\d(?![\w])")
_BARE_PHONE = re.compile(r"(?<![\w.\-/])(?:\+?1[\s.-]?)?\(?\d{3}\)?[\s.\-]{1,2}\d{3}[\s.\-]\d{4}(?!\w)")
_POSTCODE = re.compile(r"(?<!\w)(?:[A-Z]{1,2}[- ])?\d{4,6}(?!\w)|\b[A-Z]{1,2}\d[\dA-Z]? \d[A-Z]{2}\b")
_REGISTRATION = re.compile(
    r"[(\[]?(?:[A-Z]{0,3}\d{4,}[- ]?[A-Z]{0,2}\d*|\d{4,}[-A-Z]*)[)\]]?[.:]?|[(\[]\w{2,4}[)\]]", re.IGNORECASE
)
_LEGAL_FORM = re.compile(
    r"[(\[]?(?:m[)\]] ?)?(?:sdn\.? ?)?(?:bhd|ltd|inc|llc|gmbh|s/b|limited|sdn\.? bhd|co\. kg|ag|kg)\.?,?"
    r"(?: ?[(\[]?[\w\- ]{3,10}[)\]]?)?"
)
_STREET = re.compile(
    r"\w{3,}(?:stra(?:ss|ß)e|str\.?|weg|platz|allee|gasse|damm|ring|ufer|straat|laan|plein|vej|gatan)[,.]?",
    re.IGNORECASE,
)
_MOST_ROWS = 14
_NUMBERED = ("phone", "fax", "tax_id", "reg_no", "receipt_no", "invoice_no", "date")
_STOP = (
    "phone", "fax", "tax_id", "reg_no", "title", "receipt_no", "invoice_no", "date", "time", "meta", "cash",
    "card", "thanks", "col_amount", "col_qty", "count", "sum", "due_date", "iban", "bank", "payment_terms",
    "buyer",
)  # fmt: skip


@dataclass(slots=True)
class Part:
    """Words of one row, with how sure we are of them (0..1)."""

    row: Row
    positions: list[int]
    score: float


@dataclass(slots=True)
class _Cell:
    """Words of a row that no column gap parts."""

    row: Row
    positions: list[int]

    @property
    def text(self) -> str:
        """Its words."""
        return " ".join(self.row.tokens[i].text for i in self.positions)

    @property
    def height(self) -> float:
        """px"""
        return max(self.row.tokens[i].height for i in self.positions)

    @property
    def x0(self) -> float:
        """Left, px"""
        return self.row.tokens[self.positions[0]].x0

    @property
    def x1(self) -> float:
        """Right, px"""
        return self.row.tokens[self.positions[-1]].x1

    @property
    def is_street(self) -> bool:
        """A word for a street stands in it, alone or at the end of a name with a house number after it."""
        if self.has("street"):
            return True
        words = [self.row.tokens[i].text for i in self.positions]
        return any(_STREET.fullmatch(word) and after[:1].isdigit() for word, after in itertools.pairwise(words))

    def has(self, *classes: str) -> bool:
        """Whether a term of one of these classes stands in it."""
        first, last = self.positions[0], self.positions[-1]
        return any(first <= hit.start <= last and not hit.classes.isdisjoint(classes) for hit in self.row.hits)


def cells_of(row: Row) -> list[list[int]]:
    """Positions of the words between column gaps."""
    cells: list[list[int]] = []
    for i, token in enumerate(row.tokens):
        if i and token.x0 - row.tokens[i - 1].x1 <= 2.5 * max(token.height, row.tokens[i - 1].height):
            cells[-1].append(i)
        else:
            cells.append([i])
    return cells


def find_store(rows: Sequence[Row], end: int) -> tuple[list[Part], list[Part]]:
    """Name and address of the shop.

    Args:
        rows: all rows of the document.
        end: number of the row where the items start; neither is looked for below.
    """
    if not rows:
        return [], []
    cells = [
        _Cell(row, positions)
        for row in rows[: min(end, _MOST_ROWS)]
        if row.page == rows[0].page
        for positions in cells_of(row)
    ]
    named = [(score, i) for i in range(len(cells)) if (score := _name_score(cells, i)) > 0]
    if not named:
        return [], []
    score, at = max(named, key=lambda pair: (pair[0], -pair[1]))
    chosen = _whole_name(cells, at)
    sure = min(0.45 + 0.12 * score, 0.9)
    name = [Part(cells[i].row, _without_registration(cells[i]), sure) for i in chosen]
    return name, _address(cells, chosen[-1] + 1)


def _name_score(cells: Sequence[_Cell], at: int) -> float:
    cell = cells[at]
    text = cell.text
    letters = sum(char.isalpha() for char in text)
    digits = sum(char.isdigit() for char in text)
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
    if at + 1 < len(cells) and _looks_like_address(cells[at + 1]) and not cell.is_street:
        score += 0.6
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


def _whole_name(cells: Sequence[_Cell], at: int) -> list[int]:
    """A long name runs over several rows: above a generic end such as `Trading`, below an open bracket."""
    chosen = [at]
    while chosen[0] and len(chosen) < 3 and _is_generic(cells[chosen[0]]) and _belongs(cells, chosen[0] - 1, chosen[0]):
        chosen.insert(0, chosen[0] - 1)
    while chosen[-1] + 1 < len(cells) and len(chosen) < 3 and _continues(cells, chosen[-1]):
        chosen.append(chosen[-1] + 1)
    return chosen


def _is_generic(cell: _Cell) -> bool:
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


def _belongs(cells: Sequence[_Cell], at: int, below: int) -> bool:
    """Whether a cell may be the row before of the same name."""
    cell, other = cells[at], cells[below]
    if cell.row is other.row or cell.has(*_NUMBERED, "title") or sum(c.isdigit() for c in cell.text) > 2:
        return False
    near = other.row.y0 - cell.row.y1 < 1.2 * max(cell.height, other.height)
    return near and sum(c.isalpha() for c in cell.text) >= 3 and 0.55 < cell.height / max(other.height, 1e-6) < 1.9


def _continues(cells: Sequence[_Cell], at: int) -> bool:
    """Whether the name goes on in the next row: a bracket is open, or only the legal form follows."""
    cell, after = cells[at], cells[at + 1]
    if after.row is cell.row or after.row.y0 - cell.row.y1 > 1.2 * max(cell.height, after.height):
        return False
    if cell.text.count("(") > cell.text.count(")") and ")" in after.text:
        return True
    return _LEGAL_FORM.fullmatch(after.text.lower()) is not None or after.text.lower().rstrip(". &").endswith(" &")


def _without_registration(cell: _Cell) -> list[int]:
    kept = list(cell.positions)
    while len(kept) > 1 and (
        _REGISTRATION.fullmatch(cell.row.tokens[kept[-1]].text)
        and any(c.isdigit() for i in kept[1:] for c in cell.row.tokens[i].text)
    ):
        kept.pop()
    return kept


def _address(cells: Sequence[_Cell], at: int) -> list[Part]:
    """The rows below the name that look like an address, up to the first that is something else."""
    parts: list[Part] = []
    skipped = 0
    last: _Cell | None = None
    for cell in cells[at:]:
        likely = _looks_like_address(cell)
        if not parts:
            if likely:
                parts.append(Part(cell.row, cell.positions, 0.75))
                last = cell
            elif (skipped := skipped + 1) > 6:
                break
            continue
        if last is not None and cell.row.y0 - last.row.y1 > 1.6 * last.height:
            break
        if len(parts) >= 6 or _is_other(cell) or not (likely or _short_place(cell)):
            break
        parts.append(Part(cell.row, cell.positions, 0.7))
        last = cell
    return parts


def _is_other(cell: _Cell) -> bool:
    street = cell.has("street")
    return cell.has(*_STOP) and not (
        street and not cell.has("phone", "tax_id", "reg_no", "title", "date", "receipt_no", "invoice_no")
    )


def _looks_like_address(cell: _Cell) -> bool:
    text = cell.text
    if cell.has("phone", "fax", "tax_id", "reg_no", "date", "time", "title", "thanks") and not (
        cell.has("street") and "," in text
    ):
        return False
    if sum(c.isalpha() for c in text) < 3:
        return False
    cues = 1.0 if cell.is_street else 0.0
    cues += 0.7 if _POSTCODE.search(text) else 0.0
    cues += 0.4 if "," in text else 0.0
    cues += 0.5 if re.search(r"\d", text) else 0.0
    if cell.has("invoice_no", "receipt_no", "meta"):
        cues -= 1.0
    return cues >= 0.9


def _short_place(cell: _Cell) -> bool:
    """A town or a state alone in its row."""
    text = cell.text
    letters = sum(c.isalpha() for c in text)
    return letters >= 3 and letters >= 0.6 * len(text.replace(" ", "")) and len(text) <= 40


def find_phone(rows: Sequence[Row]) -> Part | None:
    """The first number after a word for telephone; else one written as North Americans do, near the top."""
    best: Part | None = None
    for row in rows:
        if not any(char.isdigit() for char in row.text):
            continue
        for start, end, score in _phones(row):
            if best is None or score > best.score:
                best = Part(row, row.tokens_at(start, end), score)
        if best is not None and best.score > 0.85:
            break
    return best


def _phones(row: Row) -> Iterator[tuple[int, int, float]]:
    marks = sorted(
        (row.starts[hit.start], "phone" in hit.classes) for hit in row.hits if hit.classes & {"phone", "fax"}
    )
    for k, (mark, is_phone) in enumerate(marks):
        if not is_phone:
            continue
        end = next((other for other, phone in marks[k + 1 :] if not phone), len(row.text))
        match = _PHONE.search(row.text, mark, end)
        if match and 7 <= sum(c.isdigit() for c in match.group()) <= 14 and match.start() - mark < 30:
            landline = row.text[mark : mark + 3].lower() in ("tel", "pho", "fon")
            yield match.start(), match.end(), 0.9 - 0.005 * min(row.number, 40) - (0.0 if landline else 0.04)
            return
    if not marks and row.number < _MOST_ROWS:
        match = _BARE_PHONE.search(row.text)
        if match:
            yield match.start(), match.end(), 0.7
