"""Which columns of a table a terminal has room for: ids and numbers stay whole, words beside them give way."""

from collections.abc import Mapping, Sequence

_GAP = 3
"""Characters between two columns of rich's SIMPLE_HEAD."""


def widest(name: str, cells: Sequence[str]) -> int:
    """Characters that a column needs for its heading and all its cells."""
    return max(len(name), *(len(cell) for cell in cells), 0)


def fitting(
    columns: Mapping[str, Sequence[str]], *, width: int, elastic: str, least: int, droppable: Sequence[str]
) -> dict[str, int]:
    """The columns to show, in their order, and how wide each is.

    Args:
        columns: heading -> cells.
        width: characters of the terminal.
        elastic: heading of the column that is cut to what the others leave.
        least: characters below which the elastic one is not cut while others can go.
        droppable: headings of columns that may go, the first one first.
    """
    needed = {name: widest(name, cells) for name, cells in columns.items()}
    least = min(least, needed[elastic])
    going = list(droppable)
    while True:
        room = width - sum(needed[name] + _GAP for name in needed if name != elastic)
        if room >= least or not going:
            needed[elastic] = max(len(elastic), min(needed[elastic], room))
            return needed
        needed.pop(going.pop(0), None)
