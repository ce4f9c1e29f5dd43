# pyright: reportPrivateUsage=false
"""What is passed over as it cannot hold anything never does."""

import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from billow.services.receipt import currencies, numerals
from billow.services.receipt.months import fold

PLAIN = st.text(alphabet="0123456789 .,:;'%/()+*=#@-", max_size=12)
PRINTED = st.lists(
    st.sampled_from(
        ["Singapore", "Jalan", "+60", "CA 90210", "abn", "Pte", "usa", "12.50", " ", "NSW 2000", "v5k 0a1"]
    ),
    max_size=4,
).map("".join)


@given(PLAIN)
def test_what_has_neither_letters_nor_symbols_names_no_currency(text: str) -> None:
    assert currencies._MARK.search(text) is None


@given(PRINTED | st.text(alphabet=st.characters(max_codepoint=127), max_size=12))
@example("SINGAPORE")
def test_the_quick_look_for_a_country_misses_none(text: str) -> None:
    slow = next((currency for currency, pattern in currencies._COUNTRY_SIGNS if pattern.search(text)), None)
    assert currencies.country_currency(text) == slow


@given(st.from_regex(r"[0-9][0-9.,']{0,9}", fullmatch=True))
def test_a_number_with_nothing_around_it_is_read_as_one_within_a_text(text: str) -> None:
    assert numerals.find_numerals(text) == numerals.find_numerals(f" {text} ")


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=12))
def test_ascii_has_one_form(text: str) -> None:
    translated = text.translate(numerals._LOOKALIKES)
    assert numerals.clean(text) == unicodedata.normalize("NFKC", translated)
    assert fold(text) == unicodedata.normalize("NFC", unicodedata.normalize("NFKD", text.casefold()))
