"""A glance at a page tells how high its letters are and where its margins end."""

import cv2
import numpy as np
import pytest

from billow.vision.arrays import Image, as_image
from billow.vision.text_height import Region, look

WORDS = ("TOTAL 14.50", "CASH 20.00", "CHANGE 5.50", "THANK YOU", "TAX 0.85", "2 x COFFEE")


def receipt(letter: int, size: tuple[int, int] = (700, 1000), ink: int = 40) -> Image:
    """A page (width, height in px) set in capitals of this height, px."""
    page = np.full((size[1], size[0], 3), 235, np.uint8)
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, letter, max(letter // 9, 1))
    for row, y in enumerate(range(3 * letter, size[1] - 2 * letter, 2 * letter)):
        word = WORDS[row % len(WORDS)]
        thick = max(letter // 9, 1)
        cv2.putText(page, word, (2 * letter, y), cv2.FONT_HERSHEY_SIMPLEX, scale, (ink, ink, ink), thick, cv2.LINE_AA)
    return as_image(page)


def noise(page: Image, spread: float) -> Image:
    grain = np.random.default_rng(7).normal(0, spread, page.shape)
    return as_image((page + grain).clip(0, 255))


@pytest.mark.parametrize("letter", [10, 14, 20, 30, 50])
@pytest.mark.parametrize("ink", [40, 180])
def test_the_height_of_letters_whatever_their_size_and_colour(letter: int, ink: int) -> None:
    found = look(receipt(letter, ink=ink)).letters
    assert found == pytest.approx(letter, rel=0.25, abs=2)


def test_a_large_page_is_measured_in_its_own_px() -> None:
    found = look(receipt(60, (2400, 3200))).letters
    assert found == pytest.approx(60, rel=0.25)


def test_a_logo_and_a_ruled_line_do_not_count() -> None:
    page = receipt(14)
    page[:120, :300] = 10
    page[500:503] = 0
    assert look(page).letters == pytest.approx(14, abs=4)


def test_a_shadow_and_grain_do_not_hide_the_letters() -> None:
    page = receipt(20)
    shade = np.linspace(0.5, 1.0, page.shape[1])[None, :, None]
    assert look(noise(as_image(page * shade), 4)).letters == pytest.approx(20, rel=0.3)


@pytest.mark.parametrize("page", [as_image(np.full((900, 700, 3), grey, np.uint8)) for grey in (0, 128, 255)])
def test_a_blank_page_tells_nothing_and_stays_whole(page: Image) -> None:
    assert look(page) == (Region(0, 0, 700, 900), None)


def test_a_few_words_tell_nothing() -> None:
    page = as_image(np.full((600, 600, 3), 255, np.uint8))
    cv2.putText(page, "TOTAL", (100, 300), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (0, 0, 0), 2)
    assert look(page).letters is None


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (40, 40)])
def test_the_smallest_pages_are_no_trouble(size: tuple[int, int]) -> None:
    page = as_image(np.random.default_rng(2).integers(0, 255, (size[1], size[0], 3), np.uint8))
    assert look(page).letters is None


def test_a_margin_of_one_grey_is_left_out() -> None:
    page = as_image(np.full((1200, 1600, 3), 255, np.uint8))
    page[100:1100, 450:1150] = receipt(20)
    found = look(page)
    assert found.region.x == pytest.approx(434, abs=1)
    assert found.region.y == pytest.approx(84, abs=1)
    assert found.region.width == pytest.approx(732, abs=2)
    assert found.region.height == pytest.approx(1032, abs=2)
    assert found.letters == pytest.approx(20, rel=0.25)


def test_faint_words_in_a_margin_are_kept() -> None:
    page = as_image(np.full((1200, 1600, 3), 240, np.uint8))
    page[300:900, 500:1000] = receipt(20, (500, 600))
    cv2.putText(page, "copy", (20, 1150), cv2.FONT_HERSHEY_SIMPLEX, 1.0, (200, 200, 200), 2, cv2.LINE_AA)
    region = look(page).region
    assert region.x <= 20
    assert region.y + region.height >= 1150


def test_a_photographed_table_around_the_paper_is_kept() -> None:
    table = noise(as_image(np.full((1200, 1600, 3), 120, np.uint8)), 12)
    table[100:1100, 450:1150] = receipt(20)
    found = look(table)
    assert found.region == Region(0, 0, 1600, 1200)
    assert found.letters is None or found.letters < 30, "at worst the page is not shrunk"
