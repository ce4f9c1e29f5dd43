"""What a perfect detector marks is found again where it stood on the page."""

import cv2
import numpy as np
import pytest

from billow.vision.arrays import Floats, as_floats, as_image
from billow.vision.detection import (
    DetectionParameters,
    boxes_from_map,
    input_size,
    page_scale,
    prepare,
    reduction,
    text_scale,
)
from billow.vision.geometry import sides

PARAMETERS = DetectionParameters()
BLIND = DetectionParameters(letter_height=0, trim=False)
"""Looks at nothing but the size of the page."""


def usual_size(width: int, height: int) -> tuple[int, int]:
    return input_size(width, height, page_scale(width, height, PARAMETERS))


def marked(*kernels: tuple[tuple[float, float], tuple[float, float], float], probability: float = 0.9) -> Floats:
    """A map of 320 x 640 with rotated rectangles: (centre, (width, height), degrees)."""
    canvas = np.zeros((640, 320), np.float32)
    for kernel in kernels:
        cv2.fillPoly(canvas, [cv2.boxPoints(kernel).round().astype(np.int32)], (probability,))
    return canvas


@pytest.mark.parametrize(
    "size", [(463, 1013), (30, 30), (4032, 3024), (200, 5000), (5000, 200), (1, 1), (1, 30_000), (7016, 4961)]
)
def test_sides_fit_the_network_and_keep_the_ratio(size: tuple[int, int]) -> None:
    width, height = usual_size(*size)
    assert width % 32 == height % 32 == 0
    assert max(width, height) <= 4 * PARAMETERS.long_side
    assert width * height < 3_200_000
    if min(size) > 100:
        assert width / height == pytest.approx(size[0] / size[1], rel=0.12)


def test_small_pages_are_enlarged_and_large_ones_shrunk() -> None:
    assert usual_size(463, 1013) == (736, 1600)
    assert usual_size(3024, 4032) == (1504, 2016)
    assert usual_size(1024, 1024) == (1024, 1024)


@pytest.mark.parametrize("size", [(463, 1013), (3024, 4032), (6000, 8000), (200, 100), (4961, 7016)])
def test_a_reduced_page_is_never_smaller_than_the_network_input(size: tuple[int, int]) -> None:
    by = reduction(*size, PARAMETERS)
    wanted = usual_size(*size)
    assert by in (1, 2, 4, 8)
    assert by == 1 or (size[0] // by >= wanted[0] and size[1] // by >= wanted[1])
    assert by == 8 or size[0] < wanted[0] * by * 2 or size[1] < wanted[1] * by * 2


@pytest.mark.parametrize(("letters", "by"), [(14.0, 1.0), (7.0, 1.0), (20.0, 0.7), (28.0, 0.5), (100.0, 0.5)])
def test_large_letters_are_shrunk_to_what_the_detector_needs_but_never_by_more_than_half(
    letters: float, by: float
) -> None:
    assert text_scale(1024, 1400, letters, PARAMETERS) == pytest.approx(by)


def test_small_pages_are_enlarged_only_until_their_letters_are_high_enough() -> None:
    wanted = page_scale(463, 1013, PARAMETERS)
    assert wanted == pytest.approx(736 / 463)
    assert text_scale(463, 1013, 6.0, PARAMETERS) == wanted
    assert text_scale(463, 1013, 10.0, PARAMETERS) == pytest.approx(1.4)
    assert text_scale(463, 1013, 14.0, PARAMETERS) == pytest.approx(1.0)


def test_a_page_of_unknown_letters_is_as_large_as_its_own_size_says() -> None:
    for parameters, letters in ((PARAMETERS, None), (BLIND, 30.0)):
        assert text_scale(463, 1013, letters, parameters) == page_scale(463, 1013, PARAMETERS)


def test_the_tensor_is_normalised_and_the_scale_leads_back() -> None:
    image = as_image(np.full((1024, 768, 3), 255, np.uint8))
    image[:, :, 0] = 0
    view = prepare(image, PARAMETERS)
    assert view.tensor.shape == (1, 3, 1024, 768)
    assert view.tensor.dtype == np.float32
    assert view.tensor[0, 0].max() == -1.0
    assert view.tensor[0, 2].min() == 1.0
    assert view.scale == (1.0, 1.0)
    assert view.region == (0, 0, 768, 1024)
    view = prepare(as_image(image[:500, :400]), PARAMETERS)
    assert (view.tensor.shape[3] * view.scale[0], view.tensor.shape[2] * view.scale[1]) == pytest.approx((400, 500))


def test_each_channel_has_its_own_mean_and_deviation() -> None:
    image = as_image(np.full((64, 64, 3), 255, np.uint8))
    parameters = DetectionParameters(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 0.1), short_side=64)
    assert prepare(image, parameters).tensor[0, :, 5, 5].tolist() == pytest.approx([1.0, 3.0, 10.0])


def test_an_empty_margin_is_not_looked_at_and_boxes_stay_where_they_are() -> None:
    image = as_image(np.full((1000, 2000, 3), 250, np.uint8))
    image[400:800, 700:1100] = np.random.default_rng(1).integers(0, 255, (400, 400, 1), np.uint8)
    view = prepare(image, DetectionParameters(letter_height=0))
    assert view.region == (684, 384, 432, 432)
    assert view.tensor.shape[2:] == (416, 416) or view.tensor.shape[2:] == (448, 448)
    found = np.zeros(view.tensor.shape[2:], np.float32)
    found[200:220, 100:300] = 0.9
    quads, _ = boxes_from_map(found, view.scale, (2000, 1000), PARAMETERS, (view.region.x, view.region.y))
    centre = quads[0].mean(axis=0)
    expected = (684 + 200 * view.scale[0], 384 + 210 * view.scale[1])
    assert centre == pytest.approx(expected, abs=2)
    assert prepare(image, BLIND).region == (0, 0, 2000, 1000)


def test_a_kernel_grows_by_area_over_perimeter() -> None:
    quads, scores = boxes_from_map(marked(((160, 300), (200, 20), 0)), (1.0, 1.0), (320, 640), PARAMETERS)
    assert quads.shape == (1, 4, 2)
    assert scores[0] == pytest.approx(0.9, abs=0.05)
    grown = 2 * 1.6 * 200 * 20 / (2 * (200 + 20))
    assert quads[0, 0] == pytest.approx([160 - (200 + grown) / 2, 300 - (20 + grown) / 2], abs=1.5)
    assert sides(quads[0]) == pytest.approx((200 + grown, 20 + grown), abs=2.5)


@pytest.mark.parametrize("angle", [-30.0, -8.0, 0.0, 8.0, 30.0])
def test_corners_run_clockwise_from_top_left_at_any_slope(angle: float) -> None:
    quads, _ = boxes_from_map(marked(((160, 300), (200, 20), angle)), (1.0, 1.0), (320, 640), PARAMETERS)
    top_left, top_right, bottom_right, bottom_left = quads[0]
    slope = np.degrees(np.arctan2(*(top_right - top_left)[::-1]))
    assert slope == pytest.approx(angle, abs=1.0)
    assert top_left[1] < bottom_left[1]
    assert top_right[1] < bottom_right[1]


def test_boxes_come_in_px_of_the_page_and_stay_on_it() -> None:
    kernel = ((150, 300), (300, 20), 0.0)
    quads, _ = boxes_from_map(marked(kernel), (2.0, 3.0), (640, 1920), PARAMETERS)
    assert quads[0, :, 0].min() == 0
    assert quads[0, :, 0].max() <= 640
    assert quads[0, :, 1].mean() == pytest.approx(900, abs=5)


def test_faint_marks_and_specks_are_no_text() -> None:
    faint = marked(((160, 300), (200, 20), 0), probability=0.4)
    speck = marked(((160, 300), (1, 1), 0))
    for probabilities in (faint, speck, marked()):
        quads, scores = boxes_from_map(probabilities, (1.0, 1.0), (320, 640), PARAMETERS)
        assert quads.shape == (0, 4, 2)
        assert scores.shape == (0,)


def test_when_there_are_too_many_marks_the_largest_stay() -> None:
    dust = [((10.0 + 12 * i, 20.0 + 12 * j), (4.0, 4.0), 0.0) for i in range(20) for j in range(20)]
    probabilities = marked(((160, 500), (200, 20), 7), *dust)
    quads, _ = boxes_from_map(probabilities, (1.0, 1.0), (320, 640), DetectionParameters(max_boxes=5))
    assert len(quads) <= 5
    assert any(sides(as_floats(quad))[0] > 190 for quad in quads)
