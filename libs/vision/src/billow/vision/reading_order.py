"""The order in which a person reads the lines of a receipt: rows downwards, each from left to right."""

import numpy as np

from billow.vision.arrays import Floats

_OVERLAP = 0.5
"""Of the lower of two lines: what they must share vertically to stand in one row."""
_LONG = 2.0
"""Lines this many times as wide as high tell the page's skew."""
_LAST_ROWS = 6
"""How many rows back a line may still belong to."""


def skew(quads: Floats) -> float:
    """Slope (dy / dx) of the text on the page: the median of the long lines, 0.0 if there is none."""
    edge = (quads[:, 1] - quads[:, 0] + quads[:, 2] - quads[:, 3]) / 2
    side = (quads[:, 3] - quads[:, 0] + quads[:, 2] - quads[:, 1]) / 2
    wide = np.abs(edge[:, 0]) > _LONG * np.linalg.norm(side, axis=1)
    if not wide.any():
        return 0.0
    return float(np.median(edge[wide, 1] / edge[wide, 0]))


def rows(quads: Floats) -> list[list[int]]:
    """Group lines into printed rows.

    Slight skew is taken out first; what remains (a curled receipt) is met by comparing each line with the nearest
    one of the row only.

    Args:
        quads: (N, 4, 2) in px.

    Returns:
        Indices: rows from top to bottom, each from left to right; every index exactly once.
    """
    if len(quads) == 0:
        return []
    level = quads.copy()
    level[:, :, 1] -= skew(quads) * quads[:, :, 0]
    low, high = level.min(axis=1), level.max(axis=1)
    middle = (low[:, 1] + high[:, 1]) / 2
    found: list[list[int]] = []
    downwards: list[int] = np.argsort(middle, kind="stable").tolist()
    for index in downwards:
        for row in found[: -_LAST_ROWS - 1 : -1]:
            if _belongs(index, row, low, high):
                row.append(index)
                break
        else:
            found.append([index])
    for row in found:
        row.sort(key=lambda index: float(low[index, 0]))
    return sorted(found, key=lambda row: float(middle[np.array(row)].mean()))


def _belongs(index: int, row: list[int], low: Floats, high: Floats) -> bool:
    """Whether the line shares enough height with its nearest neighbour in the row and stands beside all of it."""
    gaps = [max(float(low[index, 0] - high[other, 0]), float(low[other, 0] - high[index, 0])) for other in row]
    own = float(high[index, 0] - low[index, 0])
    if min(gaps) < -0.3 * min(own, *(float(high[other, 0] - low[other, 0]) for other in row)):
        return False
    other = row[int(np.argmin(gaps))]
    shared = min(high[index, 1], high[other, 1]) - max(low[index, 1], low[other, 1])
    return bool(shared > _OVERLAP * min(high[index, 1] - low[index, 1], high[other, 1] - low[other, 1]))


def reading_order(quads: Floats) -> list[int]:
    """Indices of the lines (N, 4, 2) in the order of reading; see `rows`."""
    return [index for row in rows(quads) for index in row]
