"""The labels as they are given to the words, one after the other."""

from collections.abc import Iterable

from .page import Row


class Board:
    """One label, score and group for each word of the request; the first label given to a word stays."""

    def __init__(self, count: int) -> None:
        self.labels: list[str] = [""] * count
        self.scores: list[float] = [0.5] * count
        self.groups: list[int] = [-1] * count

    def put(self, row: Row, positions: Iterable[int], label: str, score: float, group: int = -1) -> bool:
        """Label words of a row, unless one of them is taken; says whether it did."""
        indices = [row.tokens[position].index for position in positions]
        if not indices or any(self.labels[index] for index in indices):
            return False
        for index in indices:
            self.labels[index] = label
            self.scores[index] = min(max(score, 0.05), 0.99)
            self.groups[index] = group
        return True

    def is_free(self, row: Row, position: int) -> bool:
        """Whether a word has no label yet."""
        return not self.labels[row.tokens[position].index]
