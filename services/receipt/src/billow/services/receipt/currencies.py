"""Currencies: what stands for them in print, which one a bare `$` means, and how each writes its money."""

import re

_CODES = (
    "AED ARS AUD BGN BHD BND BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JOD JPY KES KHR KRW"
    " KWD LAK LKR MAD MMK MOP MXN MYR NGN NOK NPR NZD OMR PEN PHP PKR PLN QAR RON RUB SAR SEK SGD THB TND TRY TWD UAH"
    " USD UYU VND ZAR"
)
CODES = frozenset(_CODES.split())
"""ISO 4217 codes that are recognised in print."""

EXPONENTS: dict[str, int] = {
    **dict.fromkeys(("CLP", "IDR", "ISK", "JPY", "KHR", "KRW", "LAK", "MMK", "VND", "COP"), 0),
    **dict.fromkeys(("BHD", "JOD", "KWD", "OMR", "TND"), 3),
}
"""Decimals in daily use where they are not 2. ISO 4217 gives the rupiah 2; no till prints them."""

_DECIMAL_COMMA = "ARS BRL CLP COP CZK DKK EUR HUF IDR ISK NOK PLN RON RUB SEK TRY UAH VND"
DECIMAL_COMMA = frozenset(_DECIMAL_COMMA.split())
"""Currencies whose countries mostly write a decimal comma."""

CASH_STEPS: dict[str, str] = {
    **dict.fromkeys(("AUD", "BND", "CAD", "CHF", "MYR", "SGD", "EUR"), "0.05"),
    **dict.fromkeys(("HKD", "NZD", "ZAR"), "0.10"),
    **dict.fromkeys(("CZK", "INR", "NOK", "SEK", "THB", "PHP", "TWD", "JPY", "KRW"), "1"),
    **dict.fromkeys(("DKK",), "0.50"),
    **dict.fromkeys(("HUF",), "5"),
    **dict.fromkeys(("IDR",), "100"),
    **dict.fromkeys(("VND",), "500"),
}
"""The step to which a total may have been rounded for cash."""

_SYMBOLS: dict[str, str] = {
    "US$": "USD", "U$": "USD", "S$": "SGD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "HK$": "HKD",
    "NT$": "TWD", "NZ$": "NZD", "MX$": "MXN", "R$": "BRL", "B$": "BND", "RM": "MYR", "RP": "IDR", "€": "EUR",
    "£": "GBP", "¥": "JPY", "円": "JPY", "元": "CNY", "₫": "VND", "Đ": "VND", "VNĐ": "VND", "₹": "INR", "RS": "INR",
    "₱": "PHP", "฿": "THB", "₩": "KRW", "ZŁ": "PLN", "KČ": "CZK", "₺": "TRY", "₽": "RUB", "SFR": "CHF", "EURO": "EUR",
    "EUROS": "EUR", "FT": "HUF",
}  # fmt: skip
_KRONE = {"sv": "SEK", "da": "DKK", "no": "NOK", "nb": "NOK", "nn": "NOK", "is": "ISK"}
_NAMES = {
    "RINGGIT": "MYR", "RUPIAH": "IDR", "DOLLAR": "$", "DOLLARS": "$", "YEN": "JPY", "DONG": "VND", "POUND": "GBP",
    "POUNDS": "GBP", "STERLING": "GBP", "BAHT": "THB", "FRANKEN": "CHF", "RUPEES": "INR",
}  # fmt: skip

_WORD = "|".join(sorted((*CODES, "VNĐ", "EUROS", "EURO", "SFR"), key=len, reverse=True))
_MARK = re.compile(
    rf"(?P<code>(?<![a-z])(?:{_WORD})(?![a-z]))"
    r"|(?P<symbol>(?<![a-z])(?:US|U|S|AU|A|CA|C|HK|NT|NZ|MX|R|B)\$|[$€£¥円元₫₹₱฿₩₺₽]|zł|kč"
    r"|(?<![a-z])(?:rm(?![a-z])|rp(?![a-z])\.?)|(?<![a-z])rs\.?(?=\s?[0-9])"
    r"|(?<=[0-9])\s?ft(?![a-z])|(?<=[0-9])\s?đ(?![a-z])|(?<=[.,][0-9]{3})\s?d(?![a-z]))"
    r"|(?P<krone>(?<![a-z])kr\.?(?![a-z]))",
    re.IGNORECASE,
)

_NO_MARK = re.compile(r"[0-9 .,:;'%/()+*=#@-]*")
"""What holds neither a letter nor a symbol, as most amounts do."""

_COUNTRY_SIGNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (currency, re.compile(pattern, re.IGNORECASE))
    for currency, pattern in (
        ("MYR", r"sdn\.?\s*bhd|malaysia|kuala\s*lumpur|selangor|johor|penang|melaka|\bjalan\b|\+60"),
        ("SGD", r"singapore|\bpte\b|\+65"),
        ("AUD", r"australia|\babn\b|\bpty\b|\b(?:nsw|vic|qld)\s+[0-9]{4}\b|\+61"),
        ("NZD", r"new\s*zealand|auckland|\+64"),
        ("CAD", r"canada|ontario|qu[eé]bec|\b[abceghj-nprstvxy][0-9][a-z]\s?[0-9][a-z][0-9]\b"),
        ("HKD", r"hong\s*kong|kowloon|\+852"),
        ("TWD", r"taiwan|taipei|\+886"),
        ("MXN", r"m[eé]xico|\br\.?f\.?c\.?\b|\+52"),
        ("USD", r"\b[a-z]{2}[.,]?\s+[0-9]{5}(?:-[0-9]{4})?\b|\busa\b"),
    )
)
_ANY_COUNTRY_SIGN = re.compile("|".join(pattern.pattern for _, pattern in _COUNTRY_SIGNS))
"""For ASCII text in lower case, as many times faster as there are signs."""
_IMPLIED = {"id": "IDR", "vi": "VND", "ja": "JPY", "ko": "KRW"}
_COMMA = "de fr es it nl pt id vi pl cs da sv no nb fi tr ru uk el hu ro"
_COMMA_LANGUAGES = frozenset(_COMMA.split())


def strip_marks(text: str) -> str:
    """`text` with a space where a currency stood."""
    return text if _NO_MARK.fullmatch(text) else _MARK.sub(" ", text)


def find_mark(text: str) -> str | None:
    """The first currency code, symbol or abbreviation in `text`, as printed."""
    match = None if _NO_MARK.fullmatch(text) else _MARK.search(text)
    return match.group().strip() if match else None


def resolve(mark: str, *, language: str | None = None, country: str | None = None) -> str | None:
    """The ISO 4217 code behind a printed mark, None if it cannot be told.

    Args:
        mark: a code, symbol, abbreviation or name, in any case.
        language: ISO 639-1 of the document, tells kronor from kroner.
        country: what `country_currency` found; decides which dollar `$` is, USD without it.
    """
    key = mark.strip().rstrip(".").upper()
    key = _NAMES.get(key, key)
    if key in CODES:
        return key
    if key == "$":
        return country or "USD"
    if key == "¥":
        return "CNY" if language == "zh" else "JPY"
    if key == "KR":
        return _KRONE.get(language or "")
    if key == "D":
        return "VND"
    return _SYMBOLS.get(key)


def country_currency(text: str) -> str | None:
    """The dollar (or ringgit, which some tills print as `$`) of the country that names and addresses point to."""
    if text.isascii() and not _ANY_COUNTRY_SIGN.search(text.lower()):
        return None
    return next((currency for currency, pattern in _COUNTRY_SIGNS if pattern.search(text)), None)


def implied_currency(language: str | None) -> str | None:
    """The currency that a language all but implies; no evidence for a field, only for how numbers are written."""
    return _IMPLIED.get(language or "")


def usual_decimal_mark(currency: str | None, language: str | None) -> str | None:
    """`.` or `,` as is usual for a currency or else a language; None if neither is known."""
    if currency is not None and currency != "EUR":
        return "," if currency in DECIMAL_COMMA else "."
    if language in _COMMA_LANGUAGES:
        return ","
    if currency == "EUR":
        return ","
    return "." if language is not None else None


def exponent(currency: str | None) -> int:
    """How many decimals an amount has; 2 where the currency is not known."""
    return EXPONENTS.get(currency or "", 2)
