"""Folders of documents with truth, each format read into the same shape."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks.truth_values import Order, amount, dates

Format = Literal["sroie", "wildreceipt", "german"]
FORMATS: tuple[Format, ...] = get_args(Format)


class DatasetError(Exception):
    """The folder is not what its format says; the message tells what is missing."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One file and what is known about it."""

    id: str
    path: Path
    lines: tuple[str, ...] | None
    """The whole text, line by line; None where nobody transcribed it."""
    accepted: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Field of a record -> the values that are right, normalised; a field without truth is absent."""


def load(folder: Path, format_: Format, limit: int | None = None) -> list[Document]:
    """The first `limit` documents in the order of the folder's own list, or by name where it has none.

    Raises:
        DatasetError: no annotations, no documents, or a file that they name is missing.
    """
    read = {"sroie": _sroie, "wildreceipt": _wildreceipt, "german": _german}[format_]
    documents = read(folder)[:limit]
    if not documents:
        raise DatasetError(f"{folder} holds no documents in the format {format_!r}.")
    missing = [str(document.path) for document in documents if not document.path.is_file()]
    if missing:
        raise DatasetError(f"{len(missing)} files that the annotations name are missing, e.g. {missing[0]}.")
    return documents


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The folder's `annotations.jsonl`, or the `truth.jsonl` that our generator writes."""
    for name in ("annotations.jsonl", "truth.jsonl"):
        if (folder / name).is_file():
            text = (folder / name).read_text(encoding="utf-8")
            return [json.loads(line) for line in text.splitlines() if line.strip()]
    raise DatasetError(f"{folder} has neither annotations.jsonl nor truth.jsonl.")


_SROIE_NAMES = {"company": "store_name", "address": "store_address", "merchant": "store_name"}


def _sroie(folder: Path) -> list[Document]:
    """`fields` and `lines`; what only `weak_fields` has fills in the fields that nobody labelled."""
    documents: list[Document] = []
    for row in _rows(folder):
        # A vision model writes 0 for a tax or a tip that is not there.
        weak = {name: value for name, value in row.get("weak_fields", {}).items() if value != 0}
        accepted = _accepted({**weak, **row["fields"]}, "day-first")
        lines = tuple(str(line["text"]) for line in row["lines"]) if "lines" in row else None
        documents.append(Document(id=row["id"], path=folder / row["image"], lines=lines, accepted=accepted))
    return documents


def _accepted(fields: dict[str, Any], order: Order) -> dict[str, frozenset[str]]:
    named = {_SROIE_NAMES.get(name, name): value for name, value in fields.items() if isinstance(value, str | float)}
    values = {name: _normalised(name, str(value), order) for name, value in named.items() if value != ""}
    return {name: value for name, value in values.items() if value}


def _normalised(name: str, text: str, order: Order) -> frozenset[str]:
    if name in ("date", "due_date"):
        return dates(text, order)
    if name in ("total", "subtotal", "tax", "tip", "paid", "change", "rounding", "amount_due"):
        value = amount(text)
        return frozenset() if value is None else frozenset([str(value)])
    return frozenset([text.strip()])


_WILD_NAMES = {"Date_value": "date", "Total_value": "total", "Subtotal_value": "subtotal", "Tax_value": "tax"}


def _wildreceipt(folder: Path) -> list[Document]:
    """Boxes with labels. Its texts have lost their blanks, so there is no truth for words, names and addresses."""
    documents: list[Document] = []
    for row in _rows(folder):
        accepted: dict[str, frozenset[str]] = {}
        for box in row["annotations"]:
            name = _WILD_NAMES.get(box["label"])
            if name is not None:
                values = _normalised(name, str(box["text"]), "either")
                accepted[name] = accepted.get(name, frozenset()) | values
        known = {name: values for name, values in accepted.items() if values}
        documents.append(Document(id=row["id"], path=folder / row["image"], lines=None, accepted=known))
    return documents


_GERMAN_NAME = re.compile(r"(?P<store>[a-z]+)_(?P<d>\d\d)(?P<m>\d\d)(?P<y>\d{4})(?:_\d+)?_(?P<cents>\d{5})(?:_[A-Z])?")


def _german(folder: Path) -> list[Document]:
    """The file name is the truth: merchant_date_items_total-in-cents."""
    pictures = folder / "images" if (folder / "images").is_dir() else folder
    return [_of_name(path) for path in _pictures(pictures)]


def _pictures(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def _of_name(path: Path) -> Document:
    match = _GERMAN_NAME.fullmatch(path.stem)
    if match is None:
        raise DatasetError(f"{path.name} is not named merchant_DDMMYYYY_items_cents.")
    cents = int(match["cents"])
    accepted = {
        "date": frozenset([f"{match['y']}-{match['m']}-{match['d']}"]),
        "total": frozenset([f"{cents // 100}.{cents % 100:02d}"]),
    }
    return Document(id=path.stem, path=path, lines=None, accepted=accepted)
