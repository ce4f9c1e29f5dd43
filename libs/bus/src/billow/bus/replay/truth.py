"""What fields should have been: from files now, and from wherever else somebody knows."""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path, PurePath
from typing import Any, Protocol, cast

from billow.runtime.errors import UsageError
from billow.schemas.labels import FIELD_NAMES

Truth = Mapping[str, tuple[str, ...]]
"""Field -> the values that are right, any of them."""

_NAMES = {"company": "store_name", "merchant": "store_name", "address": "store_address"}
"""Names that public collections give to our fields."""
_DATES = frozenset(("date", "due_date"))
_NOT_AMOUNTS = (
    "store_name store_address phone date time currency payment_method invoice_number due_date seller_tax_id buyer_name "
    "buyer_address iban"
)
_AMOUNTS = frozenset(FIELD_NAMES) - frozenset(_NOT_AMOUNTS.split())
_NUMERIC_DATE = re.compile(r"(\d{1,4})[-/. ](\d{1,2})[-/. ](\d{4}|\d{2})")
_LISTS = ("annotations.jsonl", "truth.jsonl")


class TruthSource(Protocol):
    """Knows the truth about some documents."""

    async def of(self, tenant: str, document_id: str, source: str) -> Truth | None:
        """The truth about one; `source` is what the submitter called it. None where nobody knows."""
        ...


class TruthFolder:
    """Labels in files: `<document id>.json` or `<stem of the source>.json` with field -> value or values.

    A file may hold them under `fields`. A list `annotations.jsonl` or `truth.jsonl`, one document a line with `id`,
    `image` and `fields`, does as well.
    """

    def __init__(self, folder: Path) -> None:
        """Raises UsageError: it is no folder, or a list in it cannot be read."""
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder with labels.")
        self._files = {path.stem: path for path in folder.glob("*.json")}
        self._listed: dict[str, Truth] = {}
        for name in _LISTS:
            if (folder / name).is_file():
                self._read_list(folder / name)

    async def of(self, tenant: str, document_id: str, source: str) -> Truth | None:
        """By the document id first. Raises UsageError for a file that is not as it should be."""
        stem = PurePath(source).stem
        for name in filter(None, (document_id, stem)):
            if name in self._listed:
                return self._listed[name]
            if name in self._files:
                return await asyncio.to_thread(_read, self._files[name])
        return None

    def _read_list(self, path: Path) -> None:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            row = _object(line, f"{path}, line {number}")
            truth = _fields(row)
            for name in (row.get("id"), row.get("document_id"), PurePath(str(row.get("image", ""))).stem):
                if name:
                    self._listed[str(name)] = truth


def is_right(field: str, value: str | None, accepted: Iterable[str]) -> bool:
    """Whether a record's value is one of those: amounts as numbers, dates as days, words without case and blanks."""
    return value is not None and any(_same(field, value, right) for right in accepted)


def _same(field: str, value: str, right: str) -> bool:
    if field in _AMOUNTS:
        return _number(value) is not None and _number(value) == _number(right)
    if field in _DATES:
        return value == right.strip() or value == _iso(right)
    return "".join(value.split()).casefold() == "".join(right.split()).casefold()


def _number(text: str) -> Decimal | None:
    """Of `9.00`, `RM 9.00` and `1,234.50`; a comma before two last digits is a decimal point."""
    digits = re.sub(r"[^0-9.,-]", "", text)
    if re.search(r",\d{1,2}$", digits):
        digits = digits.replace(".", "").replace(",", ".")
    try:
        return Decimal(digits.replace(",", ""))
    except InvalidOperation:
        return None


def _iso(text: str) -> str | None:
    """A date in numbers, read day first where both orders are possible."""
    match = _NUMERIC_DATE.search(text)
    if match is None:
        return None
    first, second, third = match.groups()
    orders = [(first, second, third)] if len(first) == 4 else [(third, second, first), (third, first, second)]
    for year, month, day in orders:
        try:
            return date(int(year) + (2000 if len(year) == 2 else 0), int(month), int(day)).isoformat()
        except ValueError:
            continue
    return None


def _read(path: Path) -> Truth:
    return _fields(_object(path.read_text(encoding="utf-8"), path))


def _object(text: str, where: object) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as e:
        raise UsageError(f"{where} is no JSON: {e}") from e
    if not isinstance(found, dict):
        raise UsageError(f"{where} holds no object of field and value.")
    return cast("dict[str, Any]", found)


def _fields(row: Mapping[str, Any]) -> Truth:
    fields = row.get("fields", row)
    known = cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
    named = {_NAMES.get(name, name): _values(value) for name, value in known.items()}
    return {name: values for name, values in named.items() if name in FIELD_NAMES and values}


def _values(value: object) -> tuple[str, ...]:
    if isinstance(value, str | int | float):
        return (str(value),) if str(value).strip() else ()
    if isinstance(value, list):
        return tuple(part for each in cast("Sequence[object]", value) for part in _values(each))
    return ()
