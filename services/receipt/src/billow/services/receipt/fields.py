"""From labelled text to fields: each field is read by its own rule, and what cannot be read is said."""

import unicodedata
from collections.abc import Callable, Iterable
from typing import NamedTuple

from billow.schemas.events import Entity
from billow.schemas.labels import FIELD_NAMES
from billow.schemas.record import Check, Field
from billow.services.receipt import currencies
from billow.services.receipt.context import Context, inferred_certainty
from billow.services.receipt.dates import read_date
from billow.services.receipt.identifiers import is_iban, read_document_number, read_iban, read_phone, read_tax_id
from billow.services.receipt.money import format_amount, read_amount
from billow.services.receipt.payments import read_payment_method
from billow.services.receipt.times import find_time, read_time

_SHOWN = 60
_BROKEN_SUM = 0.5
_JOINED = frozenset({"store_address", "buyer_address"})
_PUNCTUATION = ",;:*=|_~- "


class Reading(NamedTuple):
    """A normalised value."""

    value: str
    certainty: float = 1.0
    """0..1: how much of the entity's confidence is left."""


Reader = Callable[[str, Context], Reading | None]


def _read_text(text: str, _: Context) -> Reading | None:
    value = " ".join(text.split()).strip(_PUNCTUATION).lstrip(". ")
    return Reading(value) if any(c.isalnum() for c in value) else None


def _read_amount(text: str, context: Context) -> Reading | None:
    number = read_amount(text, context.money)
    return Reading(format_amount(number.value, context.exponent), number.certainty) if number else None


def _read_date(text: str, context: Context) -> Reading | None:
    found = read_date(text, context.date_order, context.today)
    return Reading(found.value.isoformat(), found.certainty) if found else None


def _read_currency(text: str, context: Context) -> Reading | None:
    mark = currencies.find_mark(text) or text
    code = currencies.resolve(mark, language=context.language, country=context.country)
    return Reading(code) if code else None


def _read_iban(text: str, _: Context) -> Reading | None:
    value = read_iban(text)
    return Reading(value, 1.0 if is_iban(value) else _BROKEN_SUM) if value else None


def _plain(read: Callable[[str], str | None]) -> Reader:
    def reader(text: str, _: Context) -> Reading | None:
        value = read(text)
        return Reading(value) if value else None

    return reader


class _Rule(NamedTuple):
    read: Reader
    what: str
    """Completes "'x' is not ..."."""


_TEXT = _Rule(_read_text, "a text")
_AMOUNT = _Rule(_read_amount, "an amount")
_DATE = _Rule(_read_date, "a date")
_TAX_ID = _Rule(_plain(read_tax_id), "a tax id")

_RULES: dict[str, _Rule] = {
    "store_name": _TEXT,
    "store_address": _TEXT,
    "phone": _Rule(_plain(read_phone), "a phone number"),
    "date": _DATE,
    "time": _Rule(_plain(read_time), "a time"),
    "currency": _Rule(_read_currency, "a currency"),
    "payment_method": _Rule(_plain(read_payment_method), "a way to pay"),
    "invoice_number": _Rule(_plain(read_document_number), "a number of a document"),
    "due_date": _DATE,
    "seller_tax_id": _TAX_ID,
    "buyer_name": _TEXT,
    "buyer_address": _TEXT,
    "iban": _Rule(_read_iban, "an IBAN"),
}


def read_fields(entities: Iterable[Entity], context: Context) -> tuple[dict[str, Field], list[Check]]:
    """Read every field, in the order of `FIELD_NAMES`, and list those that stand there but cannot be read.

    Of several entities with one label the surest that can be read wins; of equally sure ones the first, but the last
    amount, since a grand total comes after the others. Addresses are joined instead.
    """
    by_label: dict[str, list[Entity]] = {}
    for entity in entities:
        if not is_blank(entity.text):
            by_label.setdefault(entity.label, []).append(entity)
    fields: dict[str, Field] = {}
    unreadable: list[Check] = []
    for name in FIELD_NAMES:
        candidates = by_label.get(name)
        if candidates is None:
            if (inferred := _infer(name, by_label, context)) is not None:
                fields[name] = inferred
            continue
        rule = _RULES.get(name, _AMOUNT)
        if (field := _read_one(name, candidates, rule, context)) is not None:
            fields[name] = field
        else:
            unreadable.append(not_readable(f"{name}_is_readable", candidates[0].text, rule.what))
    return fields, unreadable


def is_blank(text: str) -> bool:
    """Whether a text only holds a place: a dash for no amount, a lone multiplication sign for no quantity.

    A lone currency symbol says something.
    """
    says_something = any(c.isalnum() or unicodedata.category(c) == "Sc" for c in text)
    return not says_something or text.strip(" .:*").lower() == "x"


def not_readable(name: str, text: str, what: str) -> Check:
    """The failed check for a text that is not what its label says."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return Check(name=name, passed=False, detail=f"'{shown}' is not {what}")


def _read_one(name: str, candidates: list[Entity], rule: _Rule, context: Context) -> Field | None:
    if name in _JOINED and len(candidates) > 1:
        candidates = [_join(candidates)]
    if rule is _AMOUNT:
        candidates = candidates[::-1]
    for entity in sorted(candidates, key=lambda e: -e.confidence):
        if (reading := rule.read(entity.text, context)) is not None:
            return _field(reading.value, entity, entity.confidence * reading.certainty)
    return None


def _join(entities: list[Entity]) -> Entity:
    return Entity(
        label=entities[0].label,
        text=" ".join(entity.text for entity in entities),
        confidence=min(entity.confidence for entity in entities),
        regions=tuple(region for entity in entities for region in entity.regions),
    )


def _infer(name: str, by_label: dict[str, list[Entity]], context: Context) -> Field | None:
    """A currency from the symbol at an amount; a time from the text of the date."""
    if name == "currency" and context.currency is not None and (source := context.currency_source) is not None:
        mark = currencies.find_mark(source.text) or source.text
        return Field(
            value=context.currency,
            text=mark,
            confidence=round(inferred_certainty(source.confidence), 4),
            regions=source.regions,
        )
    if name == "time":
        for entity in by_label.get("date", []):
            if value := find_time(entity.text):
                return _field(value, entity, entity.confidence)
    return None


def _field(value: str, entity: Entity, confidence: float) -> Field:
    return Field(value=value, text=entity.text, confidence=round(confidence, 4), regions=entity.regions)
