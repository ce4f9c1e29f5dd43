"""What a document as a whole tells about how its numbers and dates are written."""

from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

from billow.schemas.events import Analyzed, Entity
from billow.services.receipt import currencies
from billow.services.receipt.dates import DateOrder, decide_order
from billow.services.receipt.numerals import Convention, find_numerals, voted_mark

MONEY_FIELDS = frozenset(
    {"subtotal", "discount", "service_charge", "tax", "tip", "rounding", "total", "paid", "change", "amount_due"}
)
"""Fields that hold an amount."""
DATE_FIELDS = frozenset({"date", "due_date"})

_VOTERS = MONEY_FIELDS | {"item.amount", "item.discount", "tax.amount"}
_MONEY_KEYS = _VOTERS | {"item.unit_price"}
_PLACE_FIELDS = frozenset({"store_name", "store_address", "phone", "seller_tax_id"})
_INFERRED = 0.8


class Context(NamedTuple):
    """How one document is to be read."""

    today: date
    """Dates are judged as seen from here."""
    currency: str | None
    """ISO 4217, from the currency field or else from a symbol at an amount; None if neither is there."""
    currency_source: Entity | None
    """The amount whose symbol told the currency; None if it was not inferred."""
    likely_currency: str | None
    """`currency`, or what the language implies where no amount shows cents; good for conventions only."""
    money: Convention
    exponent: int
    """Decimals of an amount; without a currency 0 if no amount of the document has any."""
    date_order: DateOrder
    language: str | None
    country: str | None
    """What a bare `$` means here, as far as name and address tell."""


def read_context(analyzed: Analyzed, today: date) -> Context:
    """Gather the evidence of all entities before any one of them is read."""
    entities = list(_all_entities(analyzed))
    language = analyzed.language
    country = currencies.country_currency(" ".join(e.text for e in entities if e.label in _PLACE_FIELDS))
    currency, source = _currency(entities, language, country)
    # Unit prices may have three decimals in any currency, so they do not vote.
    numerals = [n for e in entities if e.label in _VOTERS for n in find_numerals(e.text)]
    mark = voted_mark(numerals, ambiguous_are_groups=currency is None)
    has_cents = any(len(n.groups) > 1 and len(n.groups[-1]) < 3 for n in numerals)
    likely = currency or (None if has_cents else currencies.implied_currency(language))
    exponent = currencies.exponent(likely) if likely or has_cents or not numerals else 0
    usual_mark = currencies.usual_decimal_mark(likely, language)
    return Context(
        today=today,
        currency=currency,
        currency_source=source,
        likely_currency=likely,
        money=Convention(mark or usual_mark, three_is_group=exponent == 0),
        exponent=exponent,
        date_order=decide_order((e.text for e in entities if e.label in DATE_FIELDS), currency, language),
        language=language,
        country=country,
    )


def _all_entities(analyzed: Analyzed) -> Iterator[Entity]:
    yield from analyzed.entities
    for group in (*analyzed.items, *analyzed.taxes):
        yield from group.entities


def _currency(entities: list[Entity], language: str | None, country: str | None) -> tuple[str | None, Entity | None]:
    for entity in sorted(entities, key=lambda e: -e.confidence):
        if entity.label == "currency":
            code = currencies.resolve(entity.text, language=language, country=country)
            mark = currencies.find_mark(entity.text)
            if code is None and mark is not None:
                code = currencies.resolve(mark, language=language, country=country)
            if code is not None:
                return code, None
    # The total is printed with its currency more often than any other amount.
    for entity in sorted(entities, key=lambda e: e.label not in ("total", "amount_due")):
        if entity.label in _MONEY_KEYS and (mark := currencies.find_mark(entity.text)) is not None:
            code = currencies.resolve(mark, language=language, country=country)
            if code is not None:
                return code, entity
    return None, None


def inferred_certainty(confidence: float) -> float:
    """0..1 for a currency that stands only beside an amount, given the confidence of that amount."""
    return confidence * _INFERRED
