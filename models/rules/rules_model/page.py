"""Words on a page, straightened, and the printed rows they form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .lexicon import Hit


@dataclass(slots=True)
class Token:
    """A word after the page was turned so that its text runs from left to right; x and y in px."""

    index: int
    """Position in the request."""
    text: str
    page: int
    line: int
    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def height(self) -> float:
        """px"""
        return self.y1 - self.y0

    @property
    def middle(self) -> float:
        """y of the middle, px"""
        return (self.y0 + self.y1) / 2


@dataclass(slots=True)
class Row:
    """One printed row: all words at one height, from left to right, whatever lines the reader made of it."""

    number: int
    tokens: list[Token]
    text: str = ""
    """All words; those that touch are not parted by a space."""
    starts: list[int] = field(default_factory=list[int])
    """Offset of each token in `text`."""
    hits: list[Hit] = field(default_factory=list[Hit])
    """Terms of the lexicon, from left to right."""

    @property
    def page(self) -> int:
        """Index of the page."""
        return self.tokens[0].page

    @property
    def y0(self) -> float:
        """Top, px"""
        return min(token.y0 for token in self.tokens)

    @property
    def y1(self) -> float:
        """Bottom, px"""
        return max(token.y1 for token in self.tokens)

    @property
    def gaps(self) -> set[int]:
        """Positions of the words right of a column gap."""
        tokens = self.tokens
        return {
            i
            for i in range(1, len(tokens))
            if tokens[i].x0 - tokens[i - 1].x1 > 2.0 * max(tokens[i].height, tokens[i - 1].height)
        }

    def has(self, *classes: str) -> bool:
        """Whether a term of one of these classes stands in the row."""
        return any(not hit.classes.isdisjoint(classes) for hit in self.hits)

    def tokens_at(self, start: int, end: int) -> list[int]:
        """Positions in `tokens` of the words that hold the characters `start` up to `end` of `text`."""
        return [i for i, at in enumerate(self.starts) if at < end and at + len(self.tokens[i].text) > start]


def read_rows(words: Sequence[str], quads: NDArray[Any], pages: NDArray[Any], lines: NDArray[Any]) -> list[Row]:
    """Straighten each page by the direction of its lines, then gather words into rows, top to bottom.

    Args:
        words: N texts.
        quads: (N, 8) px, corners clockwise from the text's own top left.
        pages: (N,) page of each word.
        lines: (N,) recognised line of each word.
    """
    rows: list[list[Token]] = []
    for page in np.unique(pages):
        chosen = np.flatnonzero(pages == page)
        boxes = _straighten(np.asarray(quads, dtype=np.float64)[chosen])
        tokens = [
            Token(int(i), words[int(i)], int(page), int(lines[i]), *map(float, box))
            for i, box in zip(chosen, boxes, strict=True)
            if words[int(i)].strip()
        ]
        rows.extend(_gather(tokens))
    return [_row(number, tokens) for number, tokens in enumerate(rows)]


def _straighten(quads: NDArray[np.float64]) -> NDArray[np.float64]:
    """Boxes (n, 4) as x0, y0, x1, y1 after turning by the median direction of the words, weighted by width."""
    corners = quads.reshape(-1, 4, 2)
    along = corners[:, 1] - corners[:, 0]
    width = np.hypot(along[:, 0], along[:, 1])
    angles = np.arctan2(along[:, 1], along[:, 0])
    order = np.argsort(angles)
    weights = np.cumsum(width[order])
    angle = float(angles[order][np.searchsorted(weights, weights[-1] / 2)]) if weights[-1] > 0 else 0.0
    if abs(angle) > 1e-3:
        cos, sin = math.cos(-angle), math.sin(-angle)
        corners = corners @ np.array([[cos, sin], [-sin, cos]])
    # The middles of the short edges give the text's height even where single quads lean.
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _gather(tokens: list[Token]) -> list[list[Token]]:
    """Rows of one page. A segment (words of one line) joins the row whose nearest word it overlaps in height."""
    segments: dict[int, list[Token]] = {}
    for token in tokens:
        segments.setdefault(token.line, []).append(token)
    ordered = sorted(segments.values(), key=_center)
    rows: list[list[list[Token]]] = []
    spans: list[tuple[float, float]] = []
    for segment in ordered:
        best, best_overlap = -1, 0.5
        top, bottom = min(token.y0 for token in segment), max(token.y1 for token in segment)
        for at in range(len(rows) - 1, max(len(rows) - 7, -1), -1):
            if spans[at][1] <= top or bottom <= spans[at][0]:
                continue
            overlap = _row_overlap(rows[at], segment)
            if overlap > best_overlap:
                best, best_overlap = at, overlap
        if best < 0:
            rows.append([segment])
            spans.append((top, bottom))
        else:
            rows[best].append(segment)
            spans[best] = (min(top, spans[best][0]), max(bottom, spans[best][1]))
    flat = [sorted((token for segment in row for token in segment), key=lambda t: t.x0) for row in rows]
    return sorted(flat, key=lambda row: sum(t.middle for t in row) / len(row))


def _center(segment: list[Token]) -> float:
    return sum(token.middle for token in segment) / len(segment)


def _row_overlap(row: list[list[Token]], segment: list[Token]) -> float:
    """Share of the lower height that `segment` has in common with its neighbour in the row; 0 if they collide."""
    left, right = segment[0].x0, segment[-1].x1
    nearest, distance = row[0], math.inf
    for other in row:
        a, b = other[0].x0, other[-1].x1
        common = min(right, b) - max(left, a)
        if common > 0.3 * min(right - left, b - a):
            return 0.0
        if -common < distance:
            nearest, distance = other, -common
    end, facing = (segment[0], nearest[-1]) if nearest[0].x0 < left else (segment[-1], nearest[0])
    shared = min(end.y1, facing.y1) - max(end.y0, facing.y0)
    return shared / max(min(end.height, facing.height), 1e-6)


def _row(number: int, tokens: list[Token]) -> Row:
    starts: list[int] = []
    text = ""
    for last, token in zip([None, *tokens], tokens, strict=False):
        if last is not None and (not _touches(last, token) or (text[-1:].isdigit() and token.text[:1].isdigit())):
            text += " "
        starts.append(len(text))
        text += token.text
    return Row(number, tokens, text, starts)


def _touches(last: Token, token: Token) -> bool:
    """Words cut out of one run of characters, which the reader saw without a space."""
    if last.line != token.line or token.index != last.index + 1:
        return False
    return token.x0 - last.x1 < 0.5 * (token.x1 - token.x0) / len(token.text)
