"""The telephone number: named as such, else the way telephone numbers are written."""

import re
from collections.abc import Iterator, Sequence

from .cells import Part
from .page import Row

_MOST_ROWS = 14
_PHONE = re.compile(r"(?<![\w.])\+?\(?\d[\d\s\-().+/~]{5,18}\d(?![\w])")
_BARE_PHONE = re.compile(
    r"(?<![\w.\-/])(?:"
    r"(?:\+?1[\s.-]?)?\(?\d{3}\)?[\s.\-]{1,2}\d{3}[\s.\-]\d{4}"  # North America
    r"|\+\d{2}[\s\-]?\(?\d{1,4}\)?[\s\-]?\d{3,4}[\s\-]?\d{3,4}"  # with the code of a country
    r"|\(?0\d{1,3}\)?\s?-\s?\d{3,4}[\s\-]?\d{4}"  # an area code and a hyphen
    r"|1[\s\-]?[38]00[\s\-]\d{2,3}[\s\-]\d{3,4}"  # free of charge
    r")(?![\w\-])"
)
_OTHER = ("tax_id", "reg_no", "receipt_no", "invoice_no", "meta", "tax", "bank", "iban")


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
    if not marks and row.number < _MOST_ROWS and not row.has(*_OTHER):
        match = _BARE_PHONE.search(row.text)
        if match:
            yield match.start(), match.end(), 0.7
