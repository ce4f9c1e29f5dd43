"""Text recognition around the model: crops become batches, its outputs become text.

The model is trained with connectionist temporal classification (Graves et al., 2006): it names a character or "blank"
for every step along the line, and repeats count once.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import cv2
import msgspec
import numpy as np

from billow.vision.arrays import Floats, Image

BLANK = 0
"""Class index of "no character here"."""


class RecognitionParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to feed the recogniser. The defaults fit PP-OCRv6."""

    input_name: str = "x"
    """Of the model's tensor."""
    height: int = 48
    """px of the network input."""
    width_step: int = 32
    """px; widths are rounded up to a multiple of this, so that lines of like width share a batch."""
    min_width: int = 32
    """px; narrower lines are padded to this."""
    max_width: int = 3200
    """px; longer lines are squeezed into this."""
    max_batch: int = 8
    """Lines in one run; a worker takes it from `[batching]` of the manifest."""
    max_columns: int = 4096
    """px columns in one run, padding included; bounds the memory that the outputs take."""


def scaled_width(cut: Image, parameters: RecognitionParameters) -> int:
    """px that the crop is wide once it is as high as the network wants it."""
    height, width = cut.shape[:2]
    return min(max(math.ceil(parameters.height * width / height), 1), parameters.max_width)


def padded_width(width: int, parameters: RecognitionParameters) -> int:
    """px of the bucket that a line of this scaled width goes into."""
    step = parameters.width_step
    return max(math.ceil(width / step) * step, parameters.min_width)


Batch: TypeAlias = tuple[int, list[int]]
"""Padded width in px, and the indices of the lines that are run together."""


def plan_batches(widths: Sequence[int], parameters: RecognitionParameters) -> list[Batch]:
    """Sort lines into batches of one padded width each, within the limits of count and columns.

    Args:
        widths: Scaled widths in px.
        parameters: Bucket and batch sizes.

    Returns:
        (padded width, indices into `widths`), narrow before wide; every index exactly once.
    """
    batches: list[Batch] = []
    for index in sorted(range(len(widths)), key=lambda i: widths[i]):
        bucket = padded_width(widths[index], parameters)
        limit = min(parameters.max_batch, max(parameters.max_columns // bucket, 1))
        if batches and batches[-1][0] == bucket and len(batches[-1][1]) < limit:
            batches[-1][1].append(index)
        else:
            batches.append((bucket, [index]))
    return batches


def prepare(cuts: Sequence[Image], width: int, parameters: RecognitionParameters) -> Floats:
    """Scale to the network's height, normalise to -1..1 and pad on the right with 0.

    Returns:
        (N, 3, height, width)
    """
    tensor = np.zeros((len(cuts), 3, parameters.height, width), np.float32)
    for row, cut in zip(tensor, cuts, strict=True):
        own = min(scaled_width(cut, parameters), width)
        lying = cv2.resize(cut, (own, parameters.height), interpolation=cv2.INTER_LINEAR)
        row[:, :, :own] = np.asarray(lying, np.float32).transpose(2, 0, 1) / 127.5 - 1.0
    return tensor


class Alphabet:
    """What the classes of a recogniser stand for: blank, the listed characters, and a space if it is missing."""

    def __init__(self, characters: Sequence[str]) -> None:
        self._characters: list[str] = ["", *characters]

    @classmethod
    def parse(cls, listed: str) -> "Alphabet":
        """From weights that list one character a line, without blank and space, as PaddleOCR's do."""
        return cls([*listed.removesuffix("\n").split("\n"), " "])

    def __len__(self) -> int:
        """Classes, blank included."""
        return len(self._characters)

    def decode(self, probabilities: Floats) -> list[tuple[str, float]]:
        """Read lines off the network's output.

        Args:
            probabilities: (N, steps, classes), 0..1.

        Returns:
            Text and mean probability of its characters for each line; an empty line is ("", 0.0).

        Raises:
            ValueError: the model has another number of classes than the alphabet.
        """
        if probabilities.shape[2] != len(self):
            raise ValueError(f"the model knows {probabilities.shape[2]} classes, the alphabet {len(self)}")
        best = probabilities.argmax(axis=2)
        sure = np.take_along_axis(probabilities, best[:, :, None], axis=2)[:, :, 0]
        kept = best != BLANK
        kept[:, 1:] &= best[:, 1:] != best[:, :-1]
        lines: list[tuple[str, float]] = []
        for classes, values, keep in zip(best, sure, kept, strict=True):
            found: list[int] = classes[keep].tolist()
            text = "".join(self._characters[index] for index in found)
            lines.append((text, float(values[keep].mean()) if text else 0.0))
        return lines
