"""How readings are compared with the truth. Pure: no files, no processes."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

Bag = Counter[str]
_WORD = re.compile(r"[a-z0-9]+")


def word_bag(lines: Iterable[str]) -> Bag:
    """How often each word occurs; order and place do not count.

    A word is a run of `a-z0-9` in the lower-cased text, so punctuation only separates: `RM9.00` is `rm9` and `00`.
    """
    bag: Bag = Counter()
    for line in lines:
        bag.update(_WORD.findall(line.lower()))
    return bag


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Words of one or more documents, counted; adding them gives the micro average."""

    common: int = 0
    """Words in both bags, each as often as in the poorer one."""
    read: int = 0
    """Words of the reader."""
    true: int = 0
    """Words of the truth."""

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(common=self.common + other.common, read=self.read + other.read, true=self.true + other.true)

    @property
    def f1(self) -> float:
        """0..1; 1 if there was nothing to read and nothing was read."""
        total = self.read + self.true
        return 2 * self.common / total if total else 1.0


def overlap(read: Bag, true: Bag) -> Overlap:
    """Compare two bags."""
    return Overlap(common=(read & true).total(), read=read.total(), true=true.total())


def similarity(left: str, right: str) -> float:
    """F1 of the words of two short texts, 0..1."""
    return overlap(word_bag([left]), word_bag([right])).f1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One field of one document."""

    document: str
    field: str
    truth: str
    """What would have been right; several readings are joined by ` | `."""
    read: str | None
    """None for not found, also when the document failed."""
    score: float
    """1 right, 0 wrong; in between only for texts, which are scored by `similarity`."""


MONEY_FIELDS = frozenset(
    (
        "subtotal",
        "discount",
        "service_charge",
        "tax",
        "tip",
        "rounding",
        "total",
        "paid",
        "change",
        "amount_due",
    )
)
TEXT_FIELDS = frozenset(("store_name", "store_address", "buyer_name", "buyer_address", "payment_method"))


def score_field(field: str, accepted: Iterable[str], read: str | None) -> float:
    """Compare a record's value with the normalised values that are accepted; the best counts.

    Money is compared as a number, names and addresses by `similarity`, phone numbers by their last eight digits (with
    or without a country code), all else letter by letter.
    """
    if read is None:
        return 0.0
    return max((_score(field, truth, read) for truth in accepted), default=0.0)


def _score(field: str, truth: str, read: str) -> float:
    if field in MONEY_FIELDS:
        return float(_same_number(truth, read))
    if field in TEXT_FIELDS:
        return similarity(truth, read)
    if field == "phone":
        return float(_digits(truth)[-8:] == _digits(read)[-8:])
    if field == "time":
        return float(truth[:5] == read[:5])
    return float(truth == read)


def _same_number(truth: str, read: str) -> bool:
    try:
        return Decimal(truth) == Decimal(read)
    except InvalidOperation:
        return False


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)
