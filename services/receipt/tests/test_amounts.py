from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billow.services.receipt.money import format_amount, format_plain, read_amount, read_quantity, read_rate
from billow.services.receipt.numerals import Convention, find_numerals, voted_mark

DOT = Convention(".")
COMMA = Convention(",")
NO_CENTS = Convention(",", three_is_group=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("33.26", "33.26"),
        ("1,234.50", "1234.50"),
        ("1.234,50", "1234.50"),
        ("1 234,50", "1234.50"),
        ("1\N{NARROW NO-BREAK SPACE}234,50 €", "1234.50"),
        ("1'234.50", "1234.50"),
        ("1’234.50", "1234.50"),
        ("1,00,000.00", "100000.00"),
        ("1.234.567,89", "1234567.89"),
        ("RM9.00", "9.00"),
        ("RM 29.70", "29.70"),
        ("$ 8.20", "8.20"),
        ("U$317.14", "317.14"),
        ("AED105.", "105"),
        ("15,20EUR", "15.20"),
        ("38.45€", "38.45"),
        ("9 .00", "9.00"),
        ("9. 00", "9.00"),
        (".82", "0.82"),
        ("-5.00", "-5.00"),
        ("- 5.00", "-5.00"),
        ("(5.00)", "-5.00"),
        ("( 5.00 )", "-5.00"),
        ("5.00-", "-5.00"),
        ("5.00 -", "-5.00"),
        ("-$5.00", "-5.00"),
        ("−5,00", "-5.00"),
        ("39.80)", "39.80"),
        ("-0.00", "0.00"),
        ("5,-", "5"),
        ("4.50 SR", "4.50"),
        ("2,99 B", "2.99"),
        ("2,99B", "2.99"),
        ("IVA8%=17,78", "17.78"),
        ("TAX 10% 33.00", "33.00"),
        ("SVC CHG 6% 127.50", "127.50"),
        ("25.00 Total.", "25.00"),
        ("１２.５０", "12.50"),
    ],
)
def test_an_amount_is_read_however_it_is_printed(text: str, value: str) -> None:
    number = read_amount(text, Convention())
    assert number is not None
    assert number.value == Decimal(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1O.5O", "10.50"),
        ("l0.50", "10.50"),
        ("O.50", "0.50"),
        ("12.S0", "12.50"),
        ("S8.20", "8.20"),
        ("1B.00", "18.00"),
    ],
)
def test_letters_that_look_like_digits_are_repaired_and_doubted(text: str, value: str) -> None:
    number = read_amount(text, DOT)
    assert number is not None
    assert number.value == Decimal(value)
    assert number.certainty < 1


@pytest.mark.parametrize(
    "text",
    ["", "-", "TOTAL", "SO", "PB1", "11.02.18", "12/03/2018", "10%", "(0%)", "1.2.3", "9556939040116123", "SO.OO"],
)
def test_what_is_no_amount_is_not_read(text: str) -> None:
    assert read_amount(text, DOT) is None


@pytest.mark.parametrize(
    ("text", "convention", "value"),
    [
        ("12.000", NO_CENTS, "12000"),
        ("12,000", NO_CENTS, "12000"),
        ("8.500,00", NO_CENTS, "8500.00"),
        ("44,000.00", NO_CENTS, "44000.00"),
        ("3.600.000", NO_CENTS, "3600000"),
        ("25.000đ", NO_CENTS, "25000"),
        ("25.000 d", NO_CENTS, "25000"),
        ("Rp.25.000", NO_CENTS, "25000"),
        ("9.000", DOT, "9.000"),
        ("9,000", DOT, "9000"),
        ("1,339", COMMA, "1.339"),
        ("1.339", COMMA, "1339"),
        ("12.000", Convention(), "12000"),
        ("0.345", NO_CENTS, "0.345"),
        ("1234.567", Convention(), "1234.567"),
    ],
)
def test_three_digits_after_a_mark_follow_the_convention(text: str, convention: Convention, value: str) -> None:
    number = read_amount(text, convention)
    assert number is not None
    assert number.value == Decimal(value)


@pytest.mark.parametrize(
    ("texts", "ambiguous_are_groups", "mark"),
    [
        (["9.00", "1,234"], False, "."),
        (["9,00", "1.234"], False, ","),
        (["1.234.567"], False, ","),
        (["1,234.50", "12,50"], False, "."),
        (["12.000", "8.000"], False, None),
        (["12.000", "8.000"], True, ","),
        (["12.000", "9.00", "8.00"], True, "."),
        (["12", "8"], True, None),
    ],
)
def test_a_document_votes_on_its_decimal_mark(texts: list[str], ambiguous_are_groups: bool, mark: str | None) -> None:
    numerals = [numeral for text in texts for numeral in find_numerals(text)]
    assert voted_mark(numerals, ambiguous_are_groups=ambiguous_are_groups) == mark


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", "2"),
        ("2x", "2"),
        ("x2", "2"),
        ("2 X", "2"),
        ("1.00", "1"),
        ("1,00", "1"),
        ("1.5", "1.5"),
        ("0.345", "0.345"),
        ("0,292X", "0.292"),
        ("1.500", "1.5"),
        ("6 Pcs", "6"),
        ("*1 Pc", "1"),
        ("1PC", "1"),
        ("Liter 48,540", "48.54"),
        ("1.00xITEMS", "1"),
        ("3EA@0.19/EA", "3"),
        ("1*0,00EUR", "1"),
        ("0.236KG", "0.236"),
        ("-1", "-1"),
    ],
)
def test_a_quantity_is_the_first_number_without_its_unit(text: str, value: str) -> None:
    number = read_quantity(text, DOT)
    assert number is not None
    assert format_plain(number.value) == value


def test_a_quantity_of_words_is_not_read() -> None:
    assert read_quantity("TRIPLE CHEESE", DOT) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9.5%", "0.095"),
        ("9,5 %", "0.095"),
        ("19,00%", "0.19"),
        ("A 19%", "0.19"),
        ("SST 6% 2018", "0.06"),
        ("6", "0.06"),
        ("0.06", "0.06"),
        ("0%", "0"),
        ("100%", "1"),
    ],
)
def test_a_rate_is_a_fraction(text: str, value: str) -> None:
    rate = read_rate(text)
    assert rate is not None
    assert format_plain(rate) == value


@pytest.mark.parametrize("text", ["", "SR", "600%", "1.2.3%"])
def test_what_is_no_rate_is_not_read(text: str) -> None:
    assert read_rate(text) is None


@pytest.mark.parametrize(
    ("value", "exponent", "printed"),
    [
        ("8.2", 2, "8.20"),
        ("9", 2, "9.00"),
        ("9.000", 2, "9.00"),
        ("1.339", 2, "1.339"),
        ("-0.00", 2, "0.00"),
        ("8500.00", 0, "8500"),
        ("45545.45", 0, "45545.45"),
        ("9817.8", 0, "9817.80"),
        ("1.5", 3, "1.500"),
    ],
)
def test_an_amount_shows_the_decimals_of_its_currency(value: str, exponent: int, printed: str) -> None:
    assert format_amount(Decimal(value), exponent) == printed


cents = st.decimals(min_value=0, max_value=10**9, places=2, allow_nan=False)
styles = st.sampled_from(
    [(",", "."), (".", ","), (" ", ","), ("'", "."), ("", "."), ("", ","), ("\N{NO-BREAK SPACE}", ",")]
)
frames = st.sampled_from(["{}", "RM{}", "$ {}", "{} €", "{}EUR", "CHF {}", "TOTAL: {}", "{} *", "[{}]"])
signs = st.sampled_from([("", "", 1), ("-", "", -1), ("", "-", -1), ("(", ")", -1)])


@given(cents, styles, frames, signs)
def test_every_way_to_print_an_amount_reads_back(
    value: Decimal, style: tuple[str, str], frame: str, sign: tuple[str, str, int]
) -> None:
    group, mark = style
    printed = f"{value:,.2f}".translate(str.maketrans({",": group, ".": mark}))
    before, after, factor = sign
    number = read_amount(frame.format(before + printed + after), Convention())
    assert number is not None
    assert number.value == value * factor


@given(
    st.integers(min_value=0, max_value=10**10),
    st.sampled_from([".", ",", " ", ""]),
    st.sampled_from(["Rp {}", "{}đ", "{} VND"]),
)
def test_amounts_without_cents_read_back(value: int, group: str, frame: str) -> None:
    number = read_amount(frame.format(f"{value:,}".replace(",", group)), NO_CENTS)
    assert number is not None
    assert number.value == value


@given(st.text())
def test_no_text_breaks_the_readers(text: str) -> None:
    for read in (read_amount, read_quantity):
        number = read(text, Convention())
        assert number is None or abs(number.value) < 10**13
    rate = read_rate(text)
    assert rate is None or 0 <= rate <= 1
