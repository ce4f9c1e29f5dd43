"""Receipts are read row by row, also when they lie askew."""

import math

import numpy as np
import pytest

from billow.vision.arrays import Floats, as_floats
from billow.vision.geometry import rectangle
from billow.vision.reading_order import reading_order, rows, skew

RECEIPT = [
    rectangle(150, 10, 350, 40),
    rectangle(20, 60, 220, 80),
    rectangle(400, 58, 470, 82),
    rectangle(20, 90, 180, 110),
    rectangle(300, 92, 330, 108),
    rectangle(400, 88, 470, 112),
    rectangle(20, 130, 90, 160),
    rectangle(400, 132, 480, 158),
]
ROWS = [[0], [1, 2], [3, 4, 5], [6, 7]]


def turned(quads: Floats, degrees: float) -> Floats:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return as_floats(quads @ np.array([[cos, sin], [-sin, cos]], np.float32) + 300)


@pytest.mark.parametrize("degrees", [0.0, 2.0, -2.0, 6.0, -6.0, 12.0])
def test_rows_downwards_each_from_left_to_right(degrees: float) -> None:
    shuffled = np.random.default_rng(5).permutation(len(RECEIPT))
    quads = turned(as_floats([RECEIPT[index] for index in shuffled]), degrees)
    assert [[int(shuffled[index]) for index in row] for row in rows(quads)] == ROWS
    assert [int(shuffled[index]) for index in reading_order(quads)] == list(range(len(RECEIPT)))
    assert skew(quads) == pytest.approx(math.tan(math.radians(degrees)), abs=0.02)


def test_a_curled_row_stays_together() -> None:
    pieces = [rectangle(100 * i, 50 + 1.0 * i * i, 100 * i + 80, 70 + 1.0 * i * i) for i in range(5)]
    below = [piece + as_floats([0, 30]) for piece in pieces]
    assert rows(as_floats([*below, *pieces])) == [[5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]


def test_overlapping_lines_never_share_a_row() -> None:
    assert rows(as_floats([rectangle(0, 0, 200, 30), rectangle(0, 12, 200, 42)])) == [[0], [1]]


def test_an_empty_page() -> None:
    assert reading_order(as_floats([]).reshape(0, 4, 2)) == []


def test_short_marks_alone_tell_no_skew() -> None:
    assert skew(as_floats([rectangle(0, 0, 10, 10), rectangle(50, 5, 60, 15)])) == 0.0
