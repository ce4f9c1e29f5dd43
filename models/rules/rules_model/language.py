"""Which language a document speaks, and whether it is a receipt or an invoice."""

from collections import Counter
from collections.abc import Sequence

from .lexicon import Lexicon
from .page import Row

_DISTINCT = {
    "vi": "ăâđêôơưạảấầẩẫậắằẳẵặẹẻẽềếểễệịỉọỏồốổỗộớờởỡợụủứừửữựỳỵỷỹ",
    "de": "äöüß",
    "es": "ñ¿¡",
    "pt": "ãõ",
    "fr": "èêçœûî",
}
_MALAY = frozenset({"ms", "id"})


def language_of(rows: Sequence[Row], lexicon: Lexicon) -> str:
    """ISO 639-1 of the language with most terms; a term of several languages counts for each a part.

    Returns an empty string when nothing was recognised.
    """
    votes: Counter[str] = Counter()
    for row in rows:
        for hit in row.hits:
            languages = list(lexicon.languages_of(hit.term))
            if len(hit.term) < 2:
                continue
            for language in languages:
                weight = 0.5 if lexicon.is_common(hit.term, language) else 1.0
                votes[language] += weight / len(languages) ** 1.5  # pyright: ignore[reportArgumentType]
    text = "".join(row.text for row in rows).lower()
    for language, letters in _DISTINCT.items():
        votes[language] += min(sum(text.count(letter) for letter in letters), 40) * 0.2  # pyright: ignore[reportArgumentType]
    if not votes:
        return ""
    # Addresses of a country are full of its words while the text is English.
    places = Counter(
        language
        for row in rows
        for hit in row.hits
        if hit.classes <= {"street", "company"}
        for language in lexicon.languages_of(hit.term)
    )
    for language in votes:
        votes[language] -= 0.9 * places[language] if language in _MALAY else 0.5 * places[language]  # pyright: ignore[reportArgumentType]
    return max(votes, key=lambda language: (votes[language], language == "en"))


def kind_of(rows: Sequence[Row], page_size: Sequence[tuple[int, int]]) -> str:
    """`invoice` or `receipt`: terms of payment, bank and buyer against cash, change and cashier."""
    if not rows:
        return ""
    score = 0.0
    seen: set[str] = set()
    for row in rows:
        for hit in row.hits:
            seen |= hit.classes
    weights = {
        "iban": 2.0, "bank": 1.0, "due_date": 1.5, "payment_terms": 1.2, "buyer": 0.8, "invoice_no": 0.5, "due": 0.5,
        "reg_no": 0.1, "change": -2.0, "cash": -1.2, "card": -0.6, "rounding": -0.8, "thanks": -0.5, "time": -0.6,
        "title": -0.3, "tip": -1.0, "meta": -0.1,
    }  # fmt: skip
    score += sum(weight for name, weight in weights.items() if name in seen)
    if page_size:
        width, height = page_size[0]
        heights = sorted(token.height for row in rows for token in row.tokens)
        # Characters that would fit into a row: a till prints 24 to 48, a sheet of A4 about 100.
        columns = width / max(heights[len(heights) // 2] * 0.55, 1e-6)
        score += 1.0 if columns > 90 else (-1.0 if columns < 60 else 0.0)
        score += 0.5 if 0.65 < width / max(height, 1) < 0.8 and columns > 70 else 0.0
    score += 0.5 if len(page_size) > 1 else 0.0
    return "invoice" if score > 0.6 else "receipt"
