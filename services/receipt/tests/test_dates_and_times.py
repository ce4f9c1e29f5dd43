from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billow.services.receipt.dates import DateOrder, Order, decide_order, read_date
from billow.services.receipt.times import find_time, read_time

TODAY = date(2026, 6, 15)
DAY_FIRST = DateOrder("dmy", is_default=False)
MONTH_FIRST = DateOrder("mdy", is_default=False)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("25/12/2018", "2018-12-25"),
        ("(06/12/2016)", "2016-12-06"),
        ("5/3/2018", "2018-03-05"),
        ("12-01-19", "2019-01-12"),
        ("11.02.18", "2018-02-11"),
        ("06/08-2013", "2013-08-06"),
        ("25 / 12 / 2018", "2018-12-25"),
        ("2018-01-05", "2018-01-05"),
        ("2018/02/22", "2018-02-22"),
        ("2014.10.16", "2014-10-16"),
        ("2019年4月1日", "2019-04-01"),
        ("2024년 3월 9일", "2024-03-09"),
        ("20180304", "2018-03-04"),
        ("20180304153012", "2018-03-04"),
        ("25122018", "2018-12-25"),
        ("20122018", "2018-12-20"),
        ("05 MAR 2018", "2018-03-05"),
        ("28 MAR 18", "2018-03-28"),
        ("24-MAR-2018", "2018-03-24"),
        ("02/JAN/2017", "2017-01-02"),
        ("18Feb14", "2014-02-18"),
        ("27Apr'13", "2013-04-27"),
        ("21NOV´15", "2015-11-21"),
        ("16AUG2015", "2015-08-16"),
        ("Aug08,2015", "2015-08-08"),
        ("Aug262017", "2017-08-26"),
        ("Jul03'12", "2012-07-03"),
        ("#001JAN.06'07REG0001", "2007-01-06"),
        ("March 3rd, 2019", "2019-03-03"),
        ("2018-Jan-05", "2018-01-05"),
        ("5. März 2019", "2019-03-05"),
        ("15. Dezember 2020", "2020-12-15"),
        ("jeudi 23 juin 2016", "2016-06-23"),
        ("jeudi23juin2016", "2016-06-23"),
        ("1er août 2019", "2019-08-01"),
        ("15 de marzo de 2018", "2018-03-15"),
        ("3 gennaio 2021", "2021-01-03"),
        ("12 mei 2020", "2020-05-12"),
        ("17 Agustus 2019", "2019-08-17"),
        ("31 Ogos 2018", "2018-08-31"),
        ("26 de abril de 2018", "2018-04-26"),
        ("Ngày 05 tháng 03 năm 2021", "2021-03-05"),
        ("25/12/2018 8:13:39 PM", "2018-12-25"),
        ("25/12/20188:13", "2018-12-25"),
        ("2018-03-2320:15", "2018-03-23"),
        ("TuesDay5-4-2011", "2011-04-05"),
        ("Date: 23-01-2019 Table 4", "2019-01-23"),
    ],
)
def test_a_date_is_read_however_it_is_printed(text: str, iso: str) -> None:
    found = read_date(text, DAY_FIRST, TODAY)
    assert found is not None
    assert found.value.isoformat() == iso
    assert found.certainty == 1


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("25/l2/2O18", "2018-12-25"),
        ("O5/03/2018", "2018-03-05"),
        ("1O-OCT-2018", "2018-10-10"),
        ("12 0CT 2018", "2018-10-12"),
    ],
)
def test_slips_in_dates_are_repaired(text: str, iso: str) -> None:
    found = read_date(text, DAY_FIRST, TODAY)
    assert found is not None
    assert found.value.isoformat() == iso


@pytest.mark.parametrize(
    "text",
    ["", "20:37", "31/02/2018", "Jun15", "12/2018", "99/99/99", "01/01/1875", "01/01/2099", "tomorrow", "789417-W"],
)
def test_what_is_no_day_of_the_calendar_is_not_read(text: str) -> None:
    assert read_date(text, DAY_FIRST, TODAY) is None


@pytest.mark.parametrize(
    ("text", "order", "iso"),
    [
        ("02/03/2016", "dmy", "2016-03-02"),
        ("02/03/2016", "mdy", "2016-02-03"),
        ("25/12/2016", "mdy", "2016-12-25"),
        ("12/25/2016", "dmy", "2016-12-25"),
        ("18/03/04", "ymd", "2018-03-04"),
        ("18/03/04", "dmy", "2004-03-18"),
        ("25-06-30", "dmy", "2025-06-30"),
        ("24/01/12", "mdy", "2012-01-24"),
    ],
)
def test_the_order_decides_and_an_impossible_one_gives_way(text: str, order: Order, iso: str) -> None:
    found = read_date(text, DateOrder(order, is_default=False), TODAY)
    assert found is not None
    assert found.value.isoformat() == iso


def test_an_ambiguous_date_is_less_sure_only_where_nothing_told_the_order() -> None:
    guess = DateOrder("dmy", is_default=True)
    for text, order, sure in (
        ("02/03/2016", guess, False),
        ("02/03/2016", DAY_FIRST, True),
        ("25/03/2016", guess, True),
    ):
        found = read_date(text, order, TODAY)
        assert found is not None
        assert (found.certainty == 1) is sure


@pytest.mark.parametrize(
    ("texts", "currency", "language", "expected"),
    [
        (["03/25/2019"], "EUR", "de", ("mdy", False)),
        (["25/03/2019"], "USD", "en", ("dmy", False)),
        (["02/03/2019"], "USD", "en", ("mdy", False)),
        (["02/03/2019"], "USD", None, ("mdy", False)),
        (["02/03/2019"], "MYR", "en", ("dmy", False)),
        (["02/03/2019"], None, "de", ("dmy", False)),
        (["02/03/2019"], "CAD", "en", ("dmy", True)),
        (["02/03/2019"], None, "en", ("dmy", True)),
        ([], "JPY", None, ("ymd", False)),
    ],
)
def test_the_document_decides_the_order(
    texts: list[str], currency: str | None, language: str | None, expected: tuple[str, bool]
) -> None:
    assert decide_order(texts, currency, language) == expected


days = st.dates(min_value=date(2000, 1, 1), max_value=TODAY)
day_first_formats = st.sampled_from(
    [
        "%d/%m/%Y",
        "%d-%m-%Y",
        "%d.%m.%Y",
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%Y%m%d",
        "%d %b %Y",
        "%d-%b-%y",
        "%d%b%Y",
        "%B %d, %Y",
    ]
)


@given(days, day_first_formats, st.sampled_from(["{}", "Date: {}", "{} 20:13", "Thu {}"]))
def test_every_way_to_print_a_day_reads_back(day: date, form: str, frame: str) -> None:
    found = read_date(frame.format(day.strftime(form)), DAY_FIRST, TODAY)
    assert found is not None
    assert found.value == day


@given(days)
def test_month_first_reads_back(day: date) -> None:
    for form in ("%m/%d/%Y", "%m-%d-%y"):
        found = read_date(day.strftime(form), MONTH_FIRST, TODAY)
        assert found is not None
        assert found.value == day


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8:13:39 PM", "20:13"),
        ("08:30:00", "08:30"),
        ("TIME:08:30:00", "08:30"),
        ("20:17", "20:17"),
        ("22:17PM", "22:17"),
        ("06:20 PM", "18:20"),
        ("7.30AM", "07:30"),
        ("7:50.45P", "19:50"),
        ("5:18:08 P", "17:18"),
        ("03:30;29PM", "15:30"),
        ("10.00.53PM", "22:00"),
        ("18.10:59", "18:10"),
        ("12:05 AM", "00:05"),
        ("12:05 p.m.", "12:05"),
        ("24:10", "00:10"),
        ("18h30", "18:30"),
        ("14:03Num.", "14:03"),
        ("(09:33PM)", "21:33"),
        ("1738", "17:38"),
        ("19.45 Uhr", "19:45"),
        ("O8:3O", "08:30"),
        ("25/12/2018 8:13:39 PM", "20:13"),
    ],
)
def test_a_time_is_read_in_24_hours(text: str, expected: str) -> None:
    assert read_time(text) == expected


@pytest.mark.parametrize("text", ["", "23/07/13", "1:5", "23:60", "99:99", "noon", "12345"])
def test_what_is_no_time_is_not_read(text: str) -> None:
    assert read_time(text) is None


def test_beside_a_date_only_a_plain_time_counts() -> None:
    assert find_time("11.02.18") is None
    assert find_time("11.02.18 19:03") == "19:03"


@given(st.times(), st.sampled_from(["%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S%p", "%H.%M"]))
def test_every_way_to_print_a_time_reads_back(moment: object, form: str) -> None:
    printed = format(moment, form)
    assert read_time(printed) == format(moment, "%H:%M")


@given(st.text())
def test_no_text_breaks_the_readers(text: str) -> None:
    found = read_date(text, DAY_FIRST, TODAY)
    assert found is None or found.value.year >= 1990
    assert read_time(text) is None or len(read_time(text) or "") == 5
