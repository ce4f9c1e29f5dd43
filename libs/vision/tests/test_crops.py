"""A quad comes off the page straight, lying and readable."""

import cv2
import numpy as np
import pytest

from billow.vision.arrays import Image, as_floats, as_image
from billow.vision.crops import crop
from billow.vision.geometry import rectangle


def label(text: str = "TOTAL 14.50") -> Image:
    image = np.full((40, 240, 3), 255, np.uint8)
    cv2.putText(image, text, (6, 29), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0, 0, 0), 2)
    return as_image(image)


def likeness(one: Image, other: Image) -> float:
    resized = as_image(cv2.resize(one, (other.shape[1], other.shape[0])))
    return float(np.corrcoef(resized.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("angle", [0.0, 5.0, -20.0, 40.0])
def test_a_slanted_line_comes_out_straight(angle: float) -> None:
    page = np.full((500, 500, 3), 255, np.uint8)
    page[230:270, 130:370] = label()
    turn = cv2.getRotationMatrix2D((250, 250), -angle, 1.0)
    slanted = as_image(cv2.warpAffine(page, turn, (500, 500), borderValue=(255, 255, 255)))
    corners = rectangle(130, 230, 370, 270) @ as_floats(turn[:, :2]).T + as_floats(turn[:, 2])
    cut = crop(slanted, as_floats(corners))
    assert abs(cut.shape[0] - 40) <= 1
    assert abs(cut.shape[1] - 240) <= 1
    assert likeness(cut, label()) > 0.9


def test_a_line_up_the_page_is_laid_down() -> None:
    page = as_image(np.full((400, 200, 3), 255, np.uint8))
    page[50:290, 60:100] = cv2.rotate(label(), cv2.ROTATE_90_CLOCKWISE)
    cut = crop(page, rectangle(60, 50, 100, 290))
    assert cut.shape == (40, 240, 3)
    assert likeness(cut, label()) > 0.99


def test_a_tall_single_character_is_not_turned() -> None:
    page = as_image(np.zeros((100, 100, 3), np.uint8))
    assert crop(page, rectangle(10, 10, 40, 50)).shape == (40, 30, 3)


def test_a_high_line_is_shrunk_to_what_recognisers_look_at() -> None:
    page = as_image(cv2.resize(label(), (960, 160), interpolation=cv2.INTER_CUBIC))
    corners = rectangle(0, 0, 960, 160)
    assert crop(page, corners).shape == (48, 288, 3)
    assert crop(page, corners, max_height=None).shape == (160, 960, 3)
    assert likeness(crop(page, corners), label()) > 0.95


def test_a_quad_without_area_gives_one_pixel() -> None:
    page = as_image(np.zeros((100, 100, 3), np.uint8))
    assert crop(page, rectangle(10, 10, 10.4, 10.4)).shape == (1, 1, 3)
