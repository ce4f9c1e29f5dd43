"""Rows of text on thermal paper, as grey dots: fast, and with the place of every run of text."""

import re
from dataclasses import dataclass

from PIL import Image, ImageDraw

from samples import fonts
from samples.layouts import Printer, Row

Box = tuple[float, float, float, float]
"""left, top, right, bottom in px of the print"""
_MARGIN = 34
_RUN = re.compile(r"\S+(?: \S+)*")
_TEXTLESS = re.compile(r"[-=_ ]+")


@dataclass(frozen=True)
class Run:
    """Text without a gap of two blanks, and where it stands."""

    text: str
    box: Box


@dataclass(frozen=True)
class Placed:
    """A row with its place: px from the top of the print, and the face to draw it with."""

    row: Row
    x: float
    y: float
    advance: float
    """px from one character to the next"""
    height: float
    size: float
    """px an em"""


@dataclass(frozen=True)
class Print:
    """A page worked out, not drawn yet."""

    printer: Printer
    width: int
    height: int
    rows: tuple[Placed, ...]


def compose(rows: list[Row], printer: Printer) -> Print:
    """Place the rows; `big` ones are centred."""
    advance = (printer.dots - 2 * _MARGIN) / printer.columns
    size = advance / 0.6
    placed: list[Placed] = []
    y = _MARGIN * 1.4
    for row in rows:
        scale = 2.0 if row.kind == "big" else 1.0
        step = advance * scale
        if row.kind == "big" and len(row.text) * step > printer.dots - 2 * _MARGIN:
            step = (printer.dots - 2 * _MARGIN) / len(row.text)
        height = {"gap": 0.8, "barcode": 3.6}.get(row.kind, 1.42 * step / advance) * size
        x = (printer.dots - len(row.text) * step) / 2 if row.kind == "big" else _MARGIN
        placed.append(Placed(row, x, y, step, height, step / 0.6 if row.kind == "big" else size))
        y += height
    return Print(printer, printer.dots, round(y + _MARGIN * 1.8), tuple(placed))


def runs(page: Print) -> list[Run]:
    """Every run of text in reading order; rules and blanks to fill in are not text."""
    found: list[Run] = []
    for placed in page.rows:
        if placed.row.kind in ("gap", "barcode"):
            continue
        for match in _RUN.finditer(placed.row.text):
            if _TEXTLESS.fullmatch(match.group()):
                continue
            left = placed.x + match.start() * placed.advance
            right = placed.x + match.end() * placed.advance
            top = placed.y + 0.1 * placed.size
            found.append(Run(match.group(), (left, top, right, top + 1.15 * placed.size)))
    return found


def draw(page: Print) -> Image.Image:
    """The print in mode L: 0 is ink, 255 paper."""
    image = Image.new("L", (page.width, page.height), 255)
    pen = ImageDraw.Draw(image)
    for placed in page.rows:
        if placed.row.kind == "barcode":
            _barcode(pen, placed, page.width)
        elif placed.row.kind != "gap":
            _text(pen, placed, page.printer)
    return image


def _text(pen: ImageDraw.ImageDraw, placed: Placed, printer: Printer) -> None:
    """Draw each character in its own cell, as a printer with a fixed character set does."""
    heavy = placed.row.kind in ("bold", "big")
    face, weight = (printer.bold_face, printer.bold_weight) if heavy else (printer.face, printer.weight)
    font = fonts.load(face, round(placed.size, 2), weight)
    for index, character in enumerate(placed.row.text):
        if character != " ":
            pen.text((placed.x + index * placed.advance, placed.y), character, fill=0, font=font)


def _barcode(pen: ImageDraw.ImageDraw, placed: Placed, width: int) -> None:
    """Bars that look the part; they encode nothing."""
    x, end = width * 0.22, width * 0.78
    digits = [int(digit) for digit in placed.row.text * 12]
    for index, digit in enumerate(digits):
        step = 2 + digit % 3
        if x + step > end:
            return
        if index % 2 == 0:
            pen.rectangle((x, placed.y, x + step - 1, placed.y + placed.height), fill=0)
        x += step
