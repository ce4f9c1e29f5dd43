from decimal import Decimal

import pytest

from benchmarks.truth_values import amount, dates


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("25/12/2018", "2018-12-25"),
        ("05/04/2018", "2018-04-05"),
        ("12-01-19", "2019-01-12"),
        ("(09/01/2019)", "2019-01-09"),
        ("9/3/2018", "2018-03-09"),
        ("26.02.17", "2017-02-26"),
        ("2018-03-04", "2018-03-04"),
        ("2017/10/29", "2017-10-29"),
        ("05 MAR 2018", "2018-03-05"),
        ("28 MAR 18", "2018-03-28"),
        ("02/JAN/2017", "2017-01-02"),
        ("24-MAR-2018", "2018-03-24"),
        ("Aug08,2015", "2015-08-08"),
        ("Jul03'12", "2012-07-03"),
        ("18Feb14", "2014-02-18"),
        ("20180304", "2018-03-04"),
        ("25032018", "2018-03-25"),
        ("05/20/2016", "2016-05-20"),
    ],
)
def test_a_printed_date_becomes_iso(text: str, iso: str) -> None:
    assert dates(text) == {iso}


def test_either_order_accepts_both_readings_where_both_exist() -> None:
    assert dates("05/04/2018", "either") == {"2018-04-05", "2018-05-04"}
    assert dates("25/12/2018", "either") == {"2018-12-25"}


@pytest.mark.parametrize("text", ["", "20:37", "31/02/2018", "45/45/2018", "12 XYZ 2018"])
def test_what_is_no_date_gives_none(text: str) -> None:
    assert dates(text) == frozenset()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9.00", "9.00"),
        ("$8.20", "8.20"),
        ("RM 9.00", "9.00"),
        ("RM41.45", "41.45"),
        ("4,519.50", "4519.50"),
        ("-3.40", "-3.40"),
        ("15,20EUR", "15.20"),
        ("1.234,56", "1234.56"),
        ("134,999", "134999"),
        ("99.9", "99.9"),
        (".82", "0.82"),
        ("193660.00", "193660.00"),
    ],
)
def test_a_printed_price_becomes_a_number(text: str, value: str) -> None:
    assert amount(text) == Decimal(value)


def test_what_is_no_price_gives_none() -> None:
    assert amount("") is None
    assert amount("TotalDue") is None
