"""Cells: the words of a row that no column gap parts, and what they are like."""

import itertools
import re
from dataclasses import dataclass, field

from .page import Row

_STREET = re.compile(
    r"\w{3,}(?:stra(?:ss|ß)e|str\.?|weg|platz|allee|gasse|damm|ring|ufer|straat|laan|plein|vej|gatan)[,.]?",
    re.IGNORECASE,
)
_WEAK = frozenset({"no", "p", "kg"})
"""Words that stand in addresses, and as often elsewhere."""


@dataclass(slots=True)
class Part:
    """Words of one row, with how sure we are of them (0..1)."""

    row: Row
    positions: list[int]
    score: float


@dataclass(slots=True)
class Cell:
    """Words of a row that no column gap parts."""

    row: Row
    positions: list[int]
    text: str = field(init=False)
    """Its words."""

    def __post_init__(self) -> None:
        self.text = " ".join(self.row.tokens[i].text for i in self.positions)

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
        first, last = self.positions[0], self.positions[-1]
        if any(
            first <= hit.start <= last and "street" in hit.classes and hit.term not in _WEAK for hit in self.row.hits
        ):
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
