"""Lines into words, finer than the spaces between them."""

import itertools
import re
from collections.abc import Sequence
from math import floor

from billow.schemas.geometry import Quad, TextLine, Word

_CURRENCY = r"(?:[A-Z]{0,2}[$€£¥₫฿₱₹]|RM|MYR|SGD|USD|EUR|GBP|CHF|AUD|IDR|VND|THB|PHP|Rp)"
_DAY = (
    r"(?:\d{1,2}[-/.]\d{1,2}[-/.]20\d\d|\d\d[-/.]\d\d[-/.]\d\d|20\d\d[-/.]\d\d[-/.]\d\d|\d{1,2}[A-Za-z]{3}(?:20)?\d\d)"
)

# Each match ends where a word ends. A reader often drops the spaces of a narrow print, and one word has one label:
# the keyword, the currency and the number must not be glued together.
_CUTS: tuple[re.Pattern[str], ...] = (
    re.compile(r"(?<!\d)[:=]"),  # DATE:02/01/2018, but neither 14:49 nor http://
    re.compile(r"\d[:=](?=\D)"),
    re.compile(rf"(?<![A-Za-z]){_CURRENCY}\.(?=\d\d?[.,]?\d\d\d)"),  # Rp.25.000
    re.compile(rf"(?<![A-Za-z]){_CURRENCY}(?=[-(]?(?:\d|\.\d\d$))"),  # RM9.00, $8.20, RM.20
    re.compile(r"[A-Za-z]{3}(?=[$€£¥]\d)"),  # TOTAL$9.00
    re.compile(r"(?<=[A-Za-z]{3})[$€£¥](?=\d)"),
    re.compile(r"\d(?=(?:[$€£¥₫฿₱₹]|EUR|USD|CHF|VND|MYR|RM)(?![A-Za-z]))"),  # 8,20€
    re.compile(r"\d[.,]\d\d(?=[A-Za-z*])"),  # 2.40SR, 1,29A, 4.40*
    re.compile(r"[A-Za-z]{3}(?=\d{1,3}(?:[.,]?\d{3})*[.,]\d\d$)"),  # TOTAL9.00
    re.compile(rf"[A-Za-z.](?=\({_CURRENCY}\))"),  # TAX(RM)
    re.compile(r"[A-Za-z]{3}[.)]?(?=\(\d{4,}-?[A-Z]\))"),  # BHD.(123456-A)
    re.compile(r"(?<![A-Za-z])(?:(?i:tel|fax)|H/?P)\.?(?=[+(]?\d[\d-]{6})"),  # TEL03-12345678
    re.compile(r"\)(?=-?\d+[.,]\d\d)"),  # (RM)9.00
    re.compile(rf"[A-Za-z]{{3}}(?={_DAY})"),  # DATE02/01/2018
    re.compile(rf"(?<!\d){_DAY}(?=T?\d\d?:\d\d)"),  # 25.03.201814:22
    re.compile(r"(?<=\d)\s?[AaPp][Mm](?=\d)"),  # 04:56PM21-05-17
    re.compile(r"/(?:20)?\d\d(?=-\d\d?[:.]\d\d)"),  # 07/04/2018-18:10
    re.compile(r"\d-(?=\d\d?/\d\d?/(?:20)?\d\d(?!\d))"),  # #19-18/03/2018
    re.compile(r"[-/.]20\d\d(?=[A-Za-z]{2})"),  # 02/01/2018TIME
    re.compile(r"(?<![A-Za-z\d])\d{1,3}[xX@*](?=\d+(?:[.,]\d+)?$)"),  # 2x13.50
    re.compile(r"\d%(?=[A-Za-z])"),  # 6%GST
    re.compile(r"[A-Za-z)](?=@\s?\d)"),  # GST@6%
    re.compile(r"(?<!\d)@(?=\d)"),
    re.compile(r"[A-Za-z]{3}(?=\d{1,2}(?:[.,]\d+)?%)"),  # GST6%
)
_WORD = re.compile(r"\S+")
_SPECIAL = re.compile(r"[\d:=@(]")
_LONGEST = 64
_AMOUNT = re.compile(r"[\d.,%-]*\Z")
_ANY_CUT = re.compile("|".join(f"(?:{cut.pattern})" for cut in _CUTS))


def split_words(lines: Sequence[TextLine]) -> tuple[Word, ...]:
    """Cut lines at white space, and where a keyword, a currency, a number or a time is glued to its neighbour.

    Every character is taken to be equally wide: a word's quad is its share of the line's. Words that stood together
    therefore touch, which is how `assemble` knows to join them without a space. An empty line gives no word.
    """
    return tuple(itertools.chain.from_iterable(map(_cut, lines, itertools.count())))


def _cut(line: TextLine, index: int) -> list[Word]:
    text, quad, page, confidence = line.text, line.quad, line.page, line.confidence
    length = len(text)
    return [
        Word(
            text=text[start:end],
            quad=_share(quad, start / length, end / length),
            page=page,
            line=index,
            confidence=confidence,
        )
        for start, end in _spans(text)
    ]


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a line start and end."""
    spans: list[tuple[int, int]] = []
    for match in _WORD.finditer(text):
        start, word = match.start(), match.group()
        if _may_be_cut(word):
            spans.extend((start + a, start + b) for a, b in itertools.pairwise(_edges(word)))
        else:
            spans.append(match.span())
    return spans


def _may_be_cut(word: str) -> bool:
    """Cheap, since most words are whole: plain text, amounts, and what no pattern fits."""
    if not _SPECIAL.search(word) or _AMOUNT.match(word) or "//" in word or len(word) > _LONGEST:
        return False
    return _ANY_CUT.search(word) is not None


def _edges(word: str) -> list[int]:
    return sorted({0, len(word), *(match.end() for pattern in _CUTS for match in pattern.finditer(word))})


def _share(quad: Quad, start: float, end: float) -> Quad:
    """The part of a quad between two fractions of its length, to a hundredth of a px."""
    x1, y1, x2, y2, x3, y3, x4, y4 = quad
    ax, ay, bx, by = x2 - x1, y2 - y1, x3 - x4, y3 - y4
    try:
        # `round` takes four times as long, which is half of what cutting a line costs.
        return (
            floor((x1 + ax * start) * 100 + 0.5) / 100,
            floor((y1 + ay * start) * 100 + 0.5) / 100,
            floor((x1 + ax * end) * 100 + 0.5) / 100,
            floor((y1 + ay * end) * 100 + 0.5) / 100,
            floor((x4 + bx * end) * 100 + 0.5) / 100,
            floor((y4 + by * end) * 100 + 0.5) / 100,
            floor((x4 + bx * start) * 100 + 0.5) / 100,
            floor((y4 + by * start) * 100 + 0.5) / 100,
        )
    except (ValueError, OverflowError):
        # Infinite, or no number: not for us to judge.
        return quad
