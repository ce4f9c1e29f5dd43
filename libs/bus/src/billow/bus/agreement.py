"""How far two models agree on the same work. Pure, and blocking."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

from billow.schemas.geometry import Quad
from billow.schemas.inference import Classifications, Detections, Output, Recognitions

_MATCH_IOU = 0.5

Point = tuple[float, float]


class Agreement(NamedTuple):
    """Both 0..1."""

    agreement: float
    similarity: float | None = None
    """Of texts only."""


def agreement(one: Output, other: Output) -> Agreement:
    """Symmetric. Answers to different tasks, or to different numbers of things, agree in nothing."""
    if isinstance(one, Detections) and isinstance(other, Detections):
        return Agreement(quads_f1(one.quads, other.quads))
    if isinstance(one, Recognitions) and isinstance(other, Recognitions):
        return _of_texts(one.texts, other.texts)
    if isinstance(one, Classifications) and isinstance(other, Classifications):
        return Agreement(_equal_share(one.labels, other.labels))
    return Agreement(0.0)


def quads_f1(one: Sequence[Quad], other: Sequence[Quad]) -> float:
    """Twice the matched pairs over all quads; pairs have an IoU of 0.5 or more, the best first. 1.0 for none at all."""
    if not one and not other:
        return 1.0
    pairs = [(iou(a, b), i, j) for i, a in enumerate(one) for j, b in enumerate(other) if _boxes_meet(a, b)]
    taken_one: set[int] = set()
    taken_other: set[int] = set()
    for overlap, i, j in sorted(pairs, reverse=True):
        if overlap >= _MATCH_IOU and i not in taken_one and j not in taken_other:
            taken_one.add(i)
            taken_other.add(j)
    return 2 * len(taken_one) / (len(one) + len(other))


def iou(one: Quad, other: Quad) -> float:
    """Intersection over union of two convex quads, 0..1."""
    a, b = _clockwise(one), _clockwise(other)
    common = abs(_area(_clipped(a, b)))
    union = abs(_area(a)) + abs(_area(b)) - common
    return common / union if union > 0 else 0.0


def _of_texts(one: Sequence[str], other: Sequence[str]) -> Agreement:
    if len(one) != len(other):
        return Agreement(0.0, 0.0)
    likeness = [SequenceMatcher(None, a, b, autojunk=False).ratio() for a, b in zip(one, other, strict=True)]
    return Agreement(_equal_share(one, other), sum(likeness) / len(likeness) if likeness else 1.0)


def _equal_share(one: Sequence[str], other: Sequence[str]) -> float:
    if len(one) != len(other):
        return 0.0
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one) if one else 1.0


def _points(quad: Quad) -> list[Point]:
    return list(zip(quad[0::2], quad[1::2], strict=True))


def _clockwise(quad: Quad) -> list[Point]:
    points = _points(quad)
    return points if _area(points) >= 0 else points[::-1]


def _boxes_meet(one: Quad, other: Quad) -> bool:
    return all(
        max(min(one[axis::2]), min(other[axis::2])) < min(max(one[axis::2]), max(other[axis::2])) for axis in (0, 1)
    )


def _area(points: Sequence[Point]) -> float:
    """Shoelace formula; positive when clockwise as seen on a page, where y grows downwards."""
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(points, [*points[1:], *points[:1]], strict=True)) / 2


def _clipped(points: Sequence[Point], window: Sequence[Point]) -> list[Point]:
    """What of one polygon lies in a convex one (Sutherland and Hodgman, 1974)."""
    left: list[Point] = list(points)
    for a, b in zip(window, [*window[1:], *window[:1]], strict=True):
        before = left
        left = []
        for p, q in zip(before, [*before[1:], *before[:1]], strict=True):
            side_p, side_q = _side(a, b, p), _side(a, b, q)
            if side_p >= 0:
                left.append(p)
            if (side_p >= 0) != (side_q >= 0):
                part = side_p / (side_p - side_q)
                left.append((p[0] + part * (q[0] - p[0]), p[1] + part * (q[1] - p[1])))
    return left


def _side(a: Point, b: Point, p: Point) -> float:
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
