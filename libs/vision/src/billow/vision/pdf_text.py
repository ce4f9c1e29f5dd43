"""Lines out of the glyphs of a PDF page, and whether that text can be believed.

Geometry only: nothing here knows the PDF library.
"""

import unicodedata
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from billow.schemas.geometry import Quad, TextLine
from billow.vision.geometry import from_quads
from billow.vision.reading_order import reading_order

_GLUE = 0.12
"""Of the font size: a smaller gap never parts words by itself."""
_SPACE = 0.25
"""Of the font size: a larger gap parts words even without a space."""
_COLUMN = 0.6
"""Of the font size: a larger gap parts segments, if it is empty."""
_SPACED_COLUMN = 1.2
"""Of the font size: a larger gap parts segments, even if the file fills it with spaces."""
_SAME_BASELINE = 0.3
"""Of the font size."""
_LETTERS_TO_JUDGE = 60
_COMMON = frozenset("eainrtosldu")
"""Invoices in English, German, French, Polish, Malay and Vietnamese have 65 to 80 % of these letters;
text through a wrong map has about 45 %."""


UNREADABLE = "\ufffd"
"""The text of a glyph that no font maps to a letter."""
GAP = "\t"
"""The text of a glyph that is not in the file: there is only a gap."""


class Glyph(msgspec.Struct, frozen=True, kw_only=True):
    """One character where it stands on the rendered page."""

    text: str
    """White space separates words, and its place is not looked at: a space that the file has, or `GAP`."""
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1 in px."""
    size: float
    """Font size in px."""
    turns: int = 0
    """Quarter turns clockwise from upright text: 0 to 3."""


class TrustParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the text of a PDF page replaces OCR."""

    min_characters: int = 24
    """Visible characters; fewer are a stamp or a footer."""
    max_bad: float = 0.03
    """0..1; characters that no font maps to a letter."""
    min_alphanumeric: float = 0.4
    """0..1"""
    min_common: float = 0.55
    """0..1 of the Latin letters that are among the commonest; below it the letters are not what is drawn."""
    scan_area: float = 0.5
    """0..1 of the page; pictures that cover more may be a scan of it."""
    scan_characters: int = 300
    """Visible characters that a page under such a picture must have."""
    scan_height: float = 0.35
    """0..1 of the page's height that those must span."""


def is_trustworthy(
    glyphs: Sequence[Glyph], page_height: float, picture_share: float, parameters: TrustParameters
) -> bool:
    """Say whether the glyphs are the page's text: enough, readable, and not only a footer on a scan.

    Args:
        glyphs: Visible ones only.
        page_height: px
        picture_share: 0..1, how much of the page pictures cover.
        parameters: Thresholds.
    """
    marks = [glyph for glyph in glyphs if not glyph.text.isspace()]
    if len(marks) < parameters.min_characters:
        return False
    text = "".join(glyph.text for glyph in marks)
    if sum(map(_is_bad, text)) > parameters.max_bad * len(text) or "(cid:" in text:
        return False
    if sum(map(str.isalnum, text)) < parameters.min_alphanumeric * len(text) or _is_cipher(text, parameters):
        return False
    if picture_share > parameters.scan_area:
        top, bottom = np.quantile([glyph.box[1] for glyph in marks], (0.02, 0.98))
        spans = bottom - top >= parameters.scan_height * page_height
        return len(marks) >= parameters.scan_characters and bool(spans)
    return True


def _is_bad(text: str) -> bool:
    return UNREADABLE in text or any(unicodedata.category(sign) in ("Cc", "Cn", "Co", "Cs") for sign in text)


def _is_cipher(text: str, parameters: TrustParameters) -> bool:
    """Fonts with a broken map give real letters, but the wrong ones: the frequencies betray them."""
    plain = unicodedata.normalize("NFKD", text).lower()
    letters = [letter for letter in plain if "a" <= letter <= "z"]
    if len(letters) < _LETTERS_TO_JUDGE:
        return False
    return sum(letter in _COMMON for letter in letters) < parameters.min_common * len(letters)


class _Word:
    """Glyphs without a gap, in a frame in which they run to the right."""

    def __init__(self, glyph: Glyph, box: tuple[float, float, float, float], before: str) -> None:
        self.text = glyph.text
        self.x0, self.y0, self.x1, self.y1 = box
        self.size = max(glyph.size, 1.0)
        self.before = before

    def takes(self, glyph: Glyph, box: tuple[float, float, float, float]) -> bool:
        size = max(self.size, glyph.size)
        near = -0.5 * size <= box[0] - self.x1 <= _SPACE * size
        return near and box[0] >= self.x0 and abs(box[3] - self.y1) <= _SAME_BASELINE * size

    def add(self, text: str, box: tuple[float, float, float, float]) -> None:
        self.text += text
        self.x0, self.x1 = min(self.x0, box[0]), max(self.x1, box[2])
        self.y0, self.y1 = min(self.y0, box[1]), max(self.y1, box[3])


def build_lines(glyphs: Iterable[Glyph], page: int, width: int, height: int) -> tuple[TextLine, ...]:
    """Join glyphs to segments of lines, parted where a wide gap stands, in reading order.

    Args:
        glyphs: In the order of the file.
        page: Index of the page.
        width: px of the page; quads are clipped to it.
        height: px of the page.
    """
    by_turn: dict[int, list[Glyph]] = {}
    turns = 0
    for glyph in glyphs:
        turns = turns if glyph.text.isspace() else glyph.turns
        by_turn.setdefault(turns, []).append(glyph)
    lines: list[TextLine] = []
    for turns, members in sorted(by_turn.items()):
        for row in _rows(_words(members, turns)):
            for text, box in _segments(row):
                quad = _quad(box, turns, width, height)
                lines.append(TextLine(text=unicodedata.normalize("NFC", text), quad=quad, page=page))
    order = reading_order(from_quads(line.quad for line in lines))
    return tuple(lines[index] for index in order)


def _words(glyphs: Iterable[Glyph], turns: int) -> list[_Word]:
    words: list[_Word] = []
    before = GAP
    for glyph in glyphs:
        if glyph.text.isspace():
            before = glyph.text if before != " " else " "
            continue
        if _is_bad(glyph.text):
            continue
        box = _turned(glyph.box, turns)
        if words and not before and words[-1].takes(glyph, box):
            words[-1].add(glyph.text, box)
        else:
            words.append(_Word(glyph, box, before))
        before = ""
    return words


def _rows(words: list[_Word]) -> list[list[_Word]]:
    rows: list[list[_Word]] = []
    for word in sorted(words, key=lambda word: word.y1):
        if rows and abs(word.y1 - rows[-1][-1].y1) <= _SAME_BASELINE * min(word.size, rows[-1][-1].size):
            rows[-1].append(word)
        else:
            rows.append([word])
    for row in rows:
        row.sort(key=lambda word: word.x0)
    return rows


def _segments(row: list[_Word]) -> list[tuple[str, tuple[float, float, float, float]]]:
    joined = row[:1]
    for word in row[1:]:
        last = joined[-1]
        size, gap = max(last.size, word.size), word.x0 - last.x1
        if gap > (_SPACED_COLUMN if word.before == " " else _COLUMN) * size:
            joined.append(word)
        else:
            between = " " if word.before or gap > _GLUE * size else ""
            last.add(between + word.text, (word.x0, word.y0, word.x1, word.y1))
    return [(word.text, (word.x0, word.y0, word.x1, word.y1)) for word in joined]


def _turned(box: tuple[float, float, float, float], turns: int) -> tuple[float, float, float, float]:
    """The box in a frame turned so that the text runs to the right."""
    x0, y0, x1, y1 = box
    return [(x0, y0, x1, y1), (y0, -x1, y1, -x0), (-x1, -y1, -x0, -y0), (-y1, x0, -y0, x1)][turns]


def _quad(box: tuple[float, float, float, float], turns: int, width: int, height: int) -> Quad:
    """Corners clockwise from the text's own top left, back in the frame of the page."""
    x0, y0, x1, y1 = box
    corners: list[float] = []
    for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1)):
        px, py = [(x, y), (-y, x), (-x, -y), (y, -x)][turns]
        corners += (round(min(max(px, 0.0), width), 2), round(min(max(py, 0.0), height), 2))
    a, b, c, d, e, f, g, h = corners
    return (a, b, c, d, e, f, g, h)
