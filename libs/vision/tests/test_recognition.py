"""Crops are packed with little padding, and class probabilities become text."""

import numpy as np
import pytest

from billow.vision.arrays import Floats, Image, as_image
from billow.vision.recognition import (
    Alphabet,
    RecognitionParameters,
    padded_width,
    plan_batches,
    prepare,
    scaled_width,
)

PARAMETERS = RecognitionParameters()


def blank(width: int, height: int, value: int = 255) -> Image:
    return as_image(np.full((height, width, 3), value, np.uint8))


def test_widths_follow_the_height_of_the_network() -> None:
    assert scaled_width(blank(100, 24), PARAMETERS) == 200
    assert scaled_width(blank(1, 500), PARAMETERS) == 1
    assert scaled_width(blank(30_000, 10), PARAMETERS) == PARAMETERS.max_width


def test_every_crop_is_run_once_with_less_than_one_step_of_padding() -> None:
    widths = np.random.default_rng(3).integers(1, 1500, 200).tolist()
    batches = plan_batches(widths, PARAMETERS)
    assert sorted(index for _, members in batches for index in members) == list(range(200))
    for width, members in batches:
        assert width % PARAMETERS.width_step == 0
        assert len(members) <= PARAMETERS.max_batch
        assert width * len(members) <= PARAMETERS.max_columns
        for index in members:
            assert padded_width(widths[index], PARAMETERS) == width
            assert 0 <= width - widths[index] < PARAMETERS.width_step or width == PARAMETERS.min_width


def test_a_crop_wider_than_the_limit_of_columns_runs_alone() -> None:
    small = RecognitionParameters(max_columns=320)
    assert plan_batches([900, 900], small) == [(928, [0]), (928, [1])]


def test_nothing_to_read_is_no_batch() -> None:
    assert plan_batches([], PARAMETERS) == []


def test_crops_are_normalised_and_padded_with_the_middle() -> None:
    tensor = prepare([blank(40, 48), blank(20, 24, 0)], 64, PARAMETERS)
    assert tensor.shape == (2, 3, 48, 64)
    assert tensor.dtype == np.float32
    assert tensor[0, :, :, :40].min() == 1.0
    assert tensor[1, :, :, :40].max() == -1.0
    assert not tensor[:, :, :, 40:].any()


def says(alphabet: Alphabet, *steps: tuple[int, float]) -> Floats:
    """Probabilities (1, steps, classes) with one sure class a step."""
    output = np.zeros((1, len(steps), len(alphabet)), np.float32)
    for index, (winner, probability) in enumerate(steps):
        output[0, index, winner] = probability
    return output


def test_repeats_count_once_unless_a_blank_stands_between() -> None:
    alphabet = Alphabet.parse("a\nb")
    assert len(alphabet) == 4
    output = says(alphabet, (1, 0.9), (1, 0.1), (0, 1.0), (1, 0.7), (3, 1.0), (2, 0.8), (0, 1.0))
    ((text, confidence),) = alphabet.decode(output)
    assert text == "aa b"
    assert confidence == pytest.approx((0.9 + 0.7 + 1.0 + 0.8) / 4)


def test_an_empty_line_is_empty_and_unsure() -> None:
    alphabet = Alphabet.parse("a\nb")
    assert alphabet.decode(says(alphabet, (0, 1.0), (0, 1.0))) == [("", 0.0)]


def test_only_a_newline_ends_a_character_of_the_list() -> None:
    alphabet = Alphabet.parse("a\n\u2028\n\x85\nb\n")
    assert len(alphabet) == 6
    assert alphabet.decode(says(alphabet, (4, 1.0)))[0][0] == "b"


def test_a_model_that_does_not_fit_its_alphabet_is_told() -> None:
    with pytest.raises(ValueError, match="5 classes, the alphabet 4"):
        Alphabet.parse("a\nb").decode(np.zeros((1, 3, 5), np.float32))
