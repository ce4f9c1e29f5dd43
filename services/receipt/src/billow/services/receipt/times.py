"""Printed times of day, to `HH:MM` in 24 hours."""

import re

from billow.services.receipt.months import fold
from billow.services.receipt.numerals import clean

_START = r"(?<![0-9])(?<![0-9][:.,])"
_HOUR = r"(?P<h>[01]?[0-9]|2[0-4])"
_HALF = r"\s*(?:(?P<half>[ap])\.?\s?(?:m\b|(?![a-z0-9])))?"
_COLON = re.compile(rf"{_START}{_HOUR}\s?[:;h]\s?(?P<m>[0-5][0-9])(?:\s?[:;.]\s?[0-5][0-9])?(?!:?[0-9]){_HALF}")
_DOT_THEN_SECONDS = re.compile(rf"{_START}{_HOUR}\.(?P<m>[0-5][0-9]):[0-5][0-9](?![0-9]){_HALF}")
_DOT_AND_HALF = re.compile(rf"{_START}{_HOUR}[.,](?P<m>[0-5][0-9])(?:[.,][0-5][0-9])?\s*(?P<half>[ap])\.?\s?m\b")
_DOT_ALONE = re.compile(rf"\W*{_HOUR}\.(?P<m>[0-5][0-9])(?:\.[0-5][0-9])?\s*(?:m|uhr|hrs?|h)?\W*(?P<half>(?!))?")
_GLUED = re.compile(r"\W*(?P<h>[01][0-9]|2[0-3])(?P<m>[0-5][0-9])(?:[0-5][0-9])?\s*(?:hrs?|h|uhr)?\W*(?P<half>(?!))?")
_SLIPS = str.maketrans({"o": "0", "l": "1", "i": "1", "|": "1", "s": "5", "b": "8"})
_SLIPPED = re.compile(r"(?<![a-z])[0-9oli|sb]{1,2}(?=:)|(?<=:)[0-9oli|sb]{2}(?![a-z])")


def read_time(text: str) -> str | None:
    """The first time in `text`, None if there is none; `22:17PM` is 22:17, a date is no time."""
    folded = fold(clean(text))
    repaired = _SLIPPED.sub(lambda m: m.group().translate(_SLIPS), folded)
    for candidate in (folded, repaired):
        if found := _whole(candidate) or _inside(candidate):
            return found
    return None


def find_time(text: str) -> str | None:
    """A time beside something else, such as a date: only forms with a colon or AM/PM count."""
    return _inside(fold(clean(text)))


def _inside(text: str) -> str | None:
    for pattern in (_COLON, _DOT_THEN_SECONDS, _DOT_AND_HALF):
        if match := pattern.search(text):
            return _format(match)
    return None


def _whole(text: str) -> str | None:
    match = _DOT_ALONE.fullmatch(text) or _GLUED.fullmatch(text)
    return _format(match) if match else None


def _format(match: re.Match[str]) -> str:
    hour, half = int(match["h"]) % 24, match["half"]
    if half == "p" and hour < 12:
        hour += 12
    elif half == "a" and hour == 12:
        hour = 0
    return f"{hour:02d}:{match['m']}"
