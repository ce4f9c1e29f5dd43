"""Pictures of one size each: receipts fitted into a frame, as a camera of that resolution would hold them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.datasets import DatasetError, Document

QUALITY = 92
"""JPEG quality, 1..100"""


def fit(document: Document, width: int, height: int, folder: Path) -> Document:
    """The document on a white page of `width` x `height` px: as large as it fits, whole, in the middle.

    Raises:
        DatasetError: its picture cannot be read.
    """
    picture = cv2.imread(str(document.path))
    if picture is None:
        raise DatasetError(f"{document.path} is no picture.")
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(round(picture.shape[1] * scale), 1), max(round(picture.shape[0] * scale), 1))
    inside = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    page = np.full((height, width, 3), 255, np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    page[top : top + size[1], left : left + size[0]] = inside
    path = folder / f"{document.id}-{width}x{height}.jpg"
    cv2.imwrite(str(path), page, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return replace(document, path=path)


def fit_all(documents: Sequence[Document], width: int, height: int, folder: Path) -> list[Document]:
    """All of them, in order. Raises as `fit`."""
    return [fit(document, width, height, folder) for document in documents]
