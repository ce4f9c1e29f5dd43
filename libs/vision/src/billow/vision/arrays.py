"""The arrays that the modules here hand to each other."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = NDArray[np.uint8]
"""(height, width, 3), BGR, contiguous."""
Floats: TypeAlias = NDArray[np.float32]
"""Tensors, probability maps and corners; the shape is said where it is used."""


def as_image(pixels: Any) -> Image:
    """Type what OpenCV returns, whose stubs know no element type. Copies only what is not contiguous uint8."""
    return np.ascontiguousarray(pixels, dtype=np.uint8)


def as_floats(values: Any) -> Floats:
    """Type an array as contiguous float32; copies only what is not."""
    return np.ascontiguousarray(values, dtype=np.float32)
