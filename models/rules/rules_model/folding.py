"""Text as the lexicon sees it: lower case, no accents, and the usual mistakes of readers undone."""

import unicodedata
from functools import lru_cache

_SINGLE = {"đ": "d", "ß": "s", "ø": "o", "ł": "l", "œ": "o", "æ": "a", "ı": "i"}
_CONFUSED = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "!": "l", "5": "s", "8": "b", "j": "l"})
_DIGITS = str.maketrans(
    {"O": "0", "o": "0", "D": "0", "Q": "0", "l": "1", "I": "1", "|": "1", "i": "1", "S": "5", "s": "5", "B": "8"}
)


@lru_cache(maxsize=4096)
def _fold_char(char: str) -> str:
    char = char.lower()[:1]
    if char in _SINGLE:
        return _SINGLE[char]
    return unicodedata.normalize("NFKD", char)[:1] or " "


def fold(text: str) -> str:
    """Lower case without accents, one character for each of `text`, so that offsets stay valid."""
    return text.lower() if text.isascii() else "".join(map(_fold_char, text))


def chunks(text: str) -> list[str]:
    """The runs of letters and digits of a word, folded; `ß` as `ss`, as German prints it in capitals."""
    if "ß" in text:
        text = text.replace("ß", "ss")
    folded = fold(text)
    return "".join(c if c.isalnum() else " " for c in folded).split()


def confusion_key(chunk: str) -> str:
    """The same for all words that a reader takes for each other: `t0tai` and `total` are both `total`."""
    return chunk.translate(_CONFUSED).replace("rn", "m").replace("vv", "w")


def as_digits(text: str) -> str:
    """Letters that stand for digits as digits, one for one."""
    return text.translate(_DIGITS)


def one_edit_apart(a: str, b: str) -> bool:
    """Whether one character replaced, added or left out, or two swapped, makes `a` into `b`."""
    if abs(len(a) - len(b)) > 1 or a == b:
        return False
    start = 0
    shorter = min(len(a), len(b))
    while start < shorter and a[start] == b[start]:
        start += 1
    if len(a) == len(b):
        swapped = a[start : start + 2] == b[start : start + 2][::-1] and a[start + 2 :] == b[start + 2 :]
        return swapped or a[start + 1 :] == b[start + 1 :]
    longer, short = (a, b) if len(a) > len(b) else (b, a)
    return longer[start + 1 :] == short[start:]
