"""How a document was paid, in a small vocabulary."""

import re

from billow.services.receipt.months import fold

_VOCABULARY: tuple[tuple[str, str], ...] = (
    (
        "e-wallet",
        r"touch\s*'?n'?\s*go|\btng\b|grab\s*pay|go-?\s?pay|\bovo\b|\bdana\b|shopee|\bboost\b|apple\s*pay|google\s*pay"
        r"|g-?pay\b|paypal|momo\b|zalo|ali\s*pay|we\s*chat|flazz|e-?money|e-?wallet|t-?cash|link\s*aja|pay\s*pay"
        r"|mb\s*way|bizum|twint|\bqris?\b",
    ),
    ("visa", r"\bvisa"),
    ("mastercard", r"master\s*-?\s*c(?:ard)?|\bmc\b"),
    ("amex", r"\bamex\b|american\s*express"),
    ("maestro", r"maestro|v\s?pay"),
    ("unionpay", r"union\s*pay"),
    ("discover", r"discover"),
    ("jcb", r"\bjcb\b"),
    ("debit", r"debi?t|\bdbt\b|debito|girocard|\bec\b|\bec-|multibanco|\bmb\b|bancomat|\bpin\b|eftpos|\bnets\b"),
    ("credit", r"credit|kredit|kreditkarte|\bcc\b"),
    (
        "card",
        r"\bcard\b|karte|\bkarten|\bcarte|\bcarta\b|cartao|cartoes|tarjeta|\bkartu|\bkad\b|^\W*the\b|\bcb\b|\bedc\b",
    ),
    ("bank-transfer", r"transfer|uberweisung|virement|bonifico|overboeking|chuyen\s*khoan|sepa|lastschrift"),
    ("cheque", r"cheque|check\b|scheck|assegno|\bcek\b"),
    ("voucher", r"voucher|gutschein|coupon|kupon|gift"),
    (
        "cash",
        r"cash|tunai|tien\s*mat|\bbar\b|bargeld|barzahlung|especes|efectivo|contant|numerari|numeraio|dinheiro|kontant",
    ),
)
_PATTERNS = tuple((value, re.compile(pattern)) for value, pattern in _VOCABULARY)

PAYMENT_METHODS: tuple[str, ...] = (*(value for value, _ in _VOCABULARY), "other")
"""Every value that `read_payment_method` may give."""


def read_payment_method(text: str) -> str | None:
    """One of `PAYMENT_METHODS`: the brand before the kind of card; `other` for words that say none of them."""
    folded = fold(text)
    for value, pattern in _PATTERNS:
        if pattern.search(folded):
            return value
    return "other" if any(c.isalpha() for c in folded) else None
