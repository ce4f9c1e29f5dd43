"""Printed numbers: from `1.234,50`, `1'234.50`, `(5.00)` or `1O.5O` to exact decimals."""

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from billow.services.receipt.currencies import strip_marks

MAX_DIGITS = 13
"""A longer run is a barcode or a card number, not an amount."""

_GROUP_ONLY = "'"
_LOOKALIKES = str.maketrans(
    {"’": "'", "‘": "'", "´": "'", "`": "'", "−": "-", "–": "-", "—": "-", "‐": "-", "·": ".", "٫": ".", "，": ","}
)
_SLIPS = str.maketrans({"O": "0", "o": "0", "Q": "0", "l": "1", "I": "1", "|": "1", "S": "5", "s": "5", "B": "8"})

_PERCENT = re.compile(r"[-+]?[0-9][0-9.,]*\s*%")
_DATE_LIKE = re.compile(r"(?<![0-9])[0-9]{1,4}([/-])[0-9]{1,2}\1[0-9]{1,4}(?![0-9])")
_LOOSE_MARK = re.compile(r"(?<=[0-9]) +(?=[.,] ?[0-9])|(?<=[0-9][.,]) +(?=[0-9]{1,3}(?![0-9.,]))")
_SPACED_GROUPS = re.compile(r"(?<![0-9.,'])([0-9]{1,3}(?: [0-9]{3})+)(?=[.,][0-9]{1,2}(?![0-9])|[^0-9.,]|$)")
_SPACED_SIGN = re.compile(r"^\s*([-+])\s+(?=[0-9.,])|(?<=[0-9])\s+(-)\s*$")
_SPACED_BRACKET = re.compile(r"(?<=\()\s+|\s+(?=\))")
_ALONE = re.compile(r"[0-9][0-9.,']*")
"""A number with nothing around it."""
_BETWEEN = re.compile(r"[\s=:;@/~*#\[\]]+")
_TAX_FLAG = re.compile(r"(?<=[.,][0-9]{2})[A-Za-z]{1,3}$")
_WHOLE_UNITS = re.compile(r"(?<=[0-9])[.,]-{1,2}$")
_STRICT = re.compile(r"(\(+)?([-+])?((?:[0-9]|[.,](?=[0-9]))[0-9.,']*)(-)?(\)+)?")
_CENTS = re.compile(r"[.,][0-9]{2}$")
_DIGIT_OR_MARK = re.compile(r"[0-9.,'()+-]")


class Numeral(NamedTuple):
    """One printed number, cut at its marks but not yet interpreted."""

    negative: bool
    groups: tuple[str, ...]
    """Runs of digits; the first is empty in `.82`."""
    marks: str
    """What stands between the groups, one character each."""
    repaired: bool
    """Whether letters were read as digits."""

    @property
    def ambiguous(self) -> bool:
        """Whether one mark before three digits may be either kind: `12.000`."""
        return (
            len(self.groups) == 2
            and len(self.groups[1]) == 3
            and 1 <= len(self.groups[0]) <= 3
            and not self.groups[0].startswith("0")
            and self.marks != _GROUP_ONLY
        )


class Convention(NamedTuple):
    """How a document writes numbers."""

    decimal_mark: str | None = None
    """`.` or `,`; None if nothing tells."""
    three_is_group: bool = False
    """Whether three digits after a mark are always a group, as where money has no decimals."""


def clean(text: str) -> str:
    """One form for full-width digits, no-break spaces, and the many dashes and apostrophes."""
    if text.isascii():
        return text.replace("`", _GROUP_ONLY)
    return unicodedata.normalize("NFKC", text.translate(_LOOKALIKES)).translate(_LOOKALIKES)


def find_numerals(text: str) -> list[Numeral]:
    """Every number in `text`, in order; percentages, dates and words with digits in them are not numbers."""
    if _ALONE.fullmatch(text):
        alone = _read_token(text)
        return [alone] if alone is not None else []
    text = _DATE_LIKE.sub(" ", _PERCENT.sub(" ", strip_marks(clean(text))))
    text = _LOOSE_MARK.sub("", text)
    text = _SPACED_GROUPS.sub(lambda m: m.group(1).replace(" ", _GROUP_ONLY), text)
    text = _SPACED_SIGN.sub(lambda m: m.group(1) or m.group(2), text)
    text = _SPACED_BRACKET.sub("", text)
    found = (_read_token(token) for token in _BETWEEN.split(text) if token)
    return [numeral for numeral in found if numeral is not None]


def _read_token(token: str) -> Numeral | None:
    token = _TAX_FLAG.sub("", _WHOLE_UNITS.sub("", token.rstrip(".,'")))
    if (numeral := _parse(token, repaired=False)) is not None:
        return numeral
    # A dollar sign that was read as a letter is likelier than a five at the front.
    if token[:1] in "Ss" and (numeral := _parse(token[1:], repaired=True)) is not None:
        return numeral
    return _parse(token.translate(_SLIPS), repaired=True) if _is_repairable(token) else None


def _is_repairable(token: str) -> bool:
    """Whether the letters in `token` are few, all look like digits, and cannot be anything else."""
    digits = sum(c.isdigit() for c in token)
    slips = sum(ord(c) in _SLIPS for c in token)
    others = len(token) - slips - sum(_DIGIT_OR_MARK.match(c) is not None for c in token)
    looks_like_money = _CENTS.search(token.translate(_SLIPS)) is not None
    return digits >= 1 and others == 0 and token[0] not in "Ss" and (digits >= slips or looks_like_money)


def _parse(token: str, *, repaired: bool) -> Numeral | None:
    match = _STRICT.fullmatch(token)
    if match is None:
        return None
    opened, sign, body, trailing, closed = match.groups()
    body = body.rstrip(".,'")
    groups = tuple(re.split(r"[.,']", body))
    marks = "".join(c for c in body if c in ".,'")
    if sum(map(len, groups)) > MAX_DIGITS or not _groups_fit(groups, marks):
        return None
    negative = sign == "-" or trailing is not None or (opened is not None and closed is not None)
    return Numeral(negative, groups, marks, repaired)


def _groups_fit(groups: tuple[str, ...], marks: str) -> bool:
    """Whether the runs of digits are those of one number; `11.02.18` and `1.2.3` are not."""
    if len(groups) == 1:
        return True
    if len(groups) == 2:
        return len(groups[1]) > 0 and (marks != _GROUP_ONLY or len(groups[1]) == 3)
    whole = groups if len(groups[-1]) == 3 and marks[-1] in marks[:-1] else groups[:-1]
    inner = whole[1:-1]
    fits_three = all(len(group) == 3 for group in whole[1:])
    fits_indian = len(whole[-1]) == 3 and all(len(group) == 2 for group in inner)
    return 1 <= len(whole[0]) <= 3 and (fits_three or fits_indian) and len(groups[-1]) > 0


def decimal_of(numeral: Numeral, convention: Convention) -> Decimal:
    """Interpret one number; where it is ambiguous the convention decides, and without one the mark is a group's."""
    groups = numeral.groups
    fraction = groups[-1] if len(groups) > 1 and _ends_in_fraction(numeral, convention) else None
    whole = "".join(groups if fraction is None else groups[:-1]) or "0"
    value = Decimal(f"{whole}.{fraction}" if fraction else whole)
    return -value if numeral.negative and value else value


def _ends_in_fraction(numeral: Numeral, convention: Convention) -> bool:
    groups, marks = numeral.groups, numeral.marks
    if marks[-1] == _GROUP_ONLY:
        return False
    if len(groups[-1]) != 3:
        return True
    if len(groups) == 2 and not numeral.ambiguous:
        return not convention.three_is_group or groups[0] in ("", "0")
    if marks[-1] in marks[:-1] or convention.three_is_group:
        return False
    return len(set(marks)) > 1 or marks[-1] == convention.decimal_mark


def readings(numeral: Numeral, convention: Convention) -> tuple[Decimal, ...]:
    """The reading that the convention prefers, then the other one if the number is ambiguous."""
    first = decimal_of(numeral, convention)
    if not numeral.ambiguous:
        return (first,)
    mark = numeral.marks
    as_fraction = decimal_of(numeral, Convention(mark))
    as_group = decimal_of(numeral, Convention(mark, three_is_group=True))
    return (first, as_group if first == as_fraction else as_fraction)


def voted_mark(numerals: Iterable[Numeral], *, ambiguous_are_groups: bool) -> str | None:
    """The decimal mark that most of a document's numbers show, None if none shows one or they disagree evenly.

    With `ambiguous_are_groups` a `12.000` speaks for the comma; without, it is not counted.
    """
    votes = {".": 0, ",": 0}
    for numeral in numerals:
        marks = numeral.marks.replace(_GROUP_ONLY, "")
        if not marks:
            continue
        last, tail = marks[-1], len(numeral.groups[-1])
        if last in marks[:-1] and tail == 3:
            votes["," if last == "." else "."] += 2
        elif tail == 2:
            votes[last] += 1 if len(marks) == 1 else 2
        elif numeral.ambiguous and ambiguous_are_groups:
            votes["," if last == "." else "."] += 1
    if votes["."] == votes[","]:
        return None
    return max(votes, key=lambda mark: votes[mark])
