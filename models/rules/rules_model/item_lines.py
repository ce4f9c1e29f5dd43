"""One row of the item region, taken apart: name, code, quantity and amounts."""

import re
from dataclasses import dataclass

from .numerals import CURRENCY, Number, Style, is_money, is_weak_money
from .page import Row

_TIMES = re.compile(r"(?:[xX×*@]|\d+(?:[.,]\d+)?[xX]|[xX]\d+)")
_CODE = re.compile(r"#?[A-Z]{0,4}[-]?\d{4,}[\w\-/.]*|[A-Z]{1,4}-[A-Z]?\d{3,}|\d{2,}[-~/]\d{3,}\w*", re.IGNORECASE)
_QUANTITY = re.compile(r"(?:[xX×](?P<a>\d{1,3})|(?P<b>\d{1,3}(?:[.,]\d{1,3})?)[xX×*]?)")
_UNIT = re.compile(
    r"(?:pcs?|pkts?|stk|st|unit\(?s?\)?|ea|kg|g|lit(?:er)?\(?s?\)?|l|x|@|\*|un|ud|nos?|pz|btl|set|box)\.?\*?",
    re.IGNORECASE,
)
_TAX_CODE = re.compile(r"(?:SR0?\*?|ZRL?|ZR0|TX|OS|\*?[SZTABE]|\*)[:*]?")


@dataclass(slots=True)
class ItemLine:
    """What a row of the item region holds."""

    row: Row
    money: list[Number]
    numbers: list[Number]
    name: list[int]
    code: list[int]
    quantity: list[int]
    quantity_value: float | None
    times: bool
    """A sign of multiplication stands in it."""

    @property
    def has_name(self) -> bool:
        """At least two letters that are no code, unit or tax code."""
        letters = sum(c.isalpha() for i in self.name for c in self.row.tokens[i].text)
        return letters >= 2


def read_line(row: Row, numbers: list[Number], style: Style) -> ItemLine:
    """Sort the words of a row into code, quantity, name and amounts; the last amount is the item's."""
    money = [n for n in numbers if is_money(n, style)]
    last = money[-1].start if money else len(row.tokens)
    if not money and style == "grouped" and numbers and is_weak_money(numbers[-1], style):
        ends_row = numbers[-1].end == len(row.tokens)
        if ends_row and numbers[-1].value == 0:
            money, last = [numbers[-1]], numbers[-1].start
    first = money[0].start if money else last
    taken = {i for n in numbers if n.decimals or n.grouped or n.percent for i in range(n.start, n.end)}
    code: list[int] = []
    quantity: list[int] = []
    value: float | None = None
    name: list[int] = []
    times = False
    for i, token in enumerate(row.tokens[:last]):
        text = token.text.strip(":")
        if _TIMES.fullmatch(text) or text.startswith("@"):
            times = True
        if not name and not code and i < first and _CODE.fullmatch(text):
            code.append(i)
            continue
        match = _QUANTITY.fullmatch(text)
        edge = not name or i + 1 >= first or (i + 1 < last and _UNIT.fullmatch(row.tokens[i + 1].text) is not None)
        if match and value is None and edge and not any(n.start == i and n.percent for n in numbers):
            number = next((n for n in numbers if n.start == i), None)
            amount = number.value if number else float((match["a"] or match["b"]).replace(",", "."))
            if 0 < amount < 1000 and not (number and is_money(number, style)):
                quantity, value = [i], amount
                continue
        counted = i > 0 and (i - 1 in quantity or row.tokens[i - 1].text.isdigit()) and not name
        if i in taken or i >= first or CURRENCY.fullmatch(text.lstrip("@")) or (counted and _UNIT.fullmatch(text)):
            continue
        name.append(i)
    while name and (_TAX_CODE.fullmatch(row.tokens[name[-1]].text) or _TIMES.fullmatch(row.tokens[name[-1]].text)):
        name.pop()
    if name and re.fullmatch(r"SR0?:|ZR:", row.tokens[name[0]].text):
        del name[0]
    return ItemLine(row, money, numbers, name, code, quantity, value, times)
