"""How far two models agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billow.bus.agreement import agreement, iou, quads_f1
from billow.schemas.geometry import Quad
from billow.schemas.inference import Classifications, Detections, Recognitions


def box(x: float, y: float, width: float, height: float) -> Quad:
    return (x, y, x + width, y, x + width, y + height, x, y + height)


def turned(quad: Quad, by: int) -> Quad:
    """The same place, its corners counted from another one."""
    values = quad[2 * by :] + quad[: 2 * by]
    return (values[0], values[1], values[2], values[3], values[4], values[5], values[6], values[7])


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (box(0, 0, 10, 4), 1.0),
        (box(5, 0, 10, 4), 1 / 3),
        (box(10, 0, 10, 4), 0.0),
        (box(0, 0, 5, 4), 0.5),
        ((5, -3, 10, 2, 5, 7, 0, 2), 32 / (40 + 50 - 32)),
    ],
)
def test_overlap_of_boxes_and_of_a_diamond(other: Quad, share: float) -> None:
    assert iou(box(0, 0, 10, 4), other) == pytest.approx(share)
    assert iou(other, box(0, 0, 10, 4)) == pytest.approx(share)


sizes = st.floats(1, 100)


@given(st.floats(-100, 100), st.floats(-100, 100), sizes, sizes, st.integers(0, 3))
def test_a_quad_is_itself_from_whichever_corner_and_way_round(
    x: float, y: float, width: float, height: float, by: int
) -> None:
    quad = box(x, y, width, height)
    backwards = (*quad[6:8], *quad[4:6], *quad[2:4], *quad[0:2])
    assert iou(quad, turned(quad, by)) == pytest.approx(1.0, abs=1e-6)
    assert iou(quad, backwards) == pytest.approx(1.0, abs=1e-6)


def test_a_quad_without_an_area_overlaps_nothing() -> None:
    assert iou(box(0, 0, 0, 0), box(0, 0, 0, 0)) == 0.0


def test_each_quad_is_matched_once() -> None:
    one = [box(0, 0, 10, 4), box(0, 10, 10, 4)]
    assert quads_f1(one, one) == 1.0
    assert quads_f1(one, [box(0, 0, 10, 4), box(0, 0, 10, 4)]) == 0.5
    assert quads_f1(one, one[:1]) == pytest.approx(2 / 3)
    assert quads_f1(one, []) == 0.0
    assert quads_f1([], []) == 1.0


def test_texts_are_compared_as_a_whole_and_by_character() -> None:
    one = Recognitions(texts=("Total", "12.00"), confidences=(1, 1))
    same, likeness = agreement(one, Recognitions(texts=("Total", "12,00"), confidences=(1, 1)))
    assert (same, likeness) == (0.5, pytest.approx(0.9))


def test_labels_are_compared_word_by_word() -> None:
    one = Classifications(labels=("total", "", "tax", "date"), scores=(1,) * 4, groups=(-1,) * 4)
    other = Classifications(labels=("total", "", "tip", "date"), scores=(1,) * 4, groups=(-1,) * 4)
    assert agreement(one, other) == (0.75, None)


def test_answers_of_another_shape_agree_in_nothing() -> None:
    texts = Recognitions(texts=("a",), confidences=(1,))
    assert agreement(texts, Recognitions(texts=("a", "b"), confidences=(1, 1))).agreement == 0
    assert agreement(texts, Detections(quads=(), scores=())).agreement == 0
