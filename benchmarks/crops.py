"""Pictures of single lines, drawn: the same ones for every side, about as wide as those of receipts."""

import random
from pathlib import Path

import cv2
import numpy as np

_LINES = (
    "TOTAL 13.14",
    "Lucky Noodle House",
    "2 x Iced Tea 4.00",
    "GST 6% 0.79",
    "CASH 20.00",
    "CHANGE 6.86",
    "Invoice 004711",
    "2019-04-01 18:05",
    "Thank you",
    "No 12, Jalan Besar",
    "Beef Noodles 8.00",
    "Qty",
    "Table 7",
)


def write_crops(folder: Path, count: int) -> list[Path]:
    """JPEG files of dark text on paper; the same ones in each run."""
    chance = random.Random(5)
    files: list[Path] = []
    for number in range(count):
        text = _LINES[number % len(_LINES)]
        size = chance.uniform(0.7, 1.0)
        font = cv2.FONT_HERSHEY_SIMPLEX
        (width, height), below = cv2.getTextSize(text, font, size, 2)
        shape = (height + below + 8, width + 12, 3)
        noise = np.random.default_rng(number).normal(225, 6, shape)
        paper = np.clip(noise, 0, 255).astype(np.uint8)
        cv2.putText(paper, text, (6, height + 4), font, size, (40, 40, 40), 2, cv2.LINE_AA)
        files.append(folder / f"line-{number}.jpg")
        cv2.imwrite(str(files[-1]), paper, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return files
