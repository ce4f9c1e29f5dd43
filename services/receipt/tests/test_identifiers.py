import pytest
from hypothesis import given
from hypothesis import strategies as st

from billow.services.receipt import currencies
from billow.services.receipt.identifiers import is_iban, read_document_number, read_iban, read_phone, read_tax_id
from billow.services.receipt.payments import PAYMENT_METHODS, read_payment_method


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("703-492-6900", "7034926900"),
        ("(250)861-1338", "2508611338"),
        ("Tel:5068579283", "5068579283"),
        ("+33160422679", "+33160422679"),
        ("+62(761)25599", "+6276125599"),
        ("(+60) 3-1234 5678", "+60312345678"),
        ("02/511.89.82", "025118982"),
        ("063966353/012349501", "063966353"),
        ("24923001,24924001", "24923001"),
        ("CALL8007055754or", "8007055754"),
        ("**STORE#204(705)745-3381**", "7057453381"),
        ("04-34O1929", "043401929"),
    ],
)
def test_a_phone_number_is_digits_with_at_most_a_plus(text: str, expected: str) -> None:
    assert read_phone(text) == expected


@pytest.mark.parametrize("text", ["", "HOPS", "(000)000-0000", "12-34", "12345678901234567890"])
def test_what_is_no_phone_number_is_not_read(text: str) -> None:
    assert read_phone(text) is None


@pytest.mark.parametrize(
    ("text", "expected", "valid"),
    [
        ("DE89 3704 0044 0532 0130 00", "DE89370400440532013000", True),
        ("IBAN: GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432", True),
        ("DE89 37O4 0044 O532 0130 00", "DE89370400440532013000", True),
        ("DE88 3704 0044 0532 0130 00", "DE88370400440532013000", False),
    ],
)
def test_an_iban_is_compact_and_repaired_only_if_the_check_sum_proves_it(text: str, expected: str, valid: bool) -> None:
    found = read_iban(text)
    assert found == expected
    assert is_iban(expected) is valid


def test_what_is_no_iban_is_not_read() -> None:
    assert read_iban("US1234567890") is None
    assert not is_iban("US1234567890")


@given(st.text())
def test_only_a_right_check_sum_is_an_iban(text: str) -> None:
    found = read_iban(text)
    assert found is None or found.isalnum()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GST ID: 000 750 673 920", "000750673920"),
        ("DE 123 456 789", "DE123456789"),
        ("USt-IdNr.: DE123456789", "DE123456789"),
        ("502.689.390", "502689390"),
        ("12/345/67890", "1234567890"),
        ("789417-W", "789417W"),
    ],
)
def test_a_tax_id_is_compact(text: str, expected: str) -> None:
    assert read_tax_id(text) == expected


def test_a_tax_id_has_digits() -> None:
    assert read_tax_id("GST ID:") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INV/2023/03/0008", "INV/2023/03/0008"),
        ("Invoice No.: 42183017", "42183017"),
        ("#BLR_WFLD20151000982590", "BLR_WFLD20151000982590"),
        ("Rechnung Nr. RE-20170509/505", "RE-20170509/505"),
        ("No. 2022089083", "2022089083"),
    ],
)
def test_a_document_number_keeps_its_form_without_its_label(text: str, expected: str) -> None:
    assert read_document_number(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CASH", "cash"),
        ("Tunai", "cash"),
        ("Tiền mặt", "cash"),
        ("BAR", "cash"),
        ("Espèces", "cash"),
        ("Numerário", "cash"),
        ("VISA ELECTRON", "visa"),
        ("MasterCard", "mastercard"),
        ("American Express", "amex"),
        ("DEBIT CARD", "debit"),
        ("Multibanco", "debit"),
        ("girocard", "debit"),
        ("Cartão de Débito", "debit"),
        ("Credit Card", "credit"),
        ("Cartão Bancário", "card"),
        ("EC-Karte", "debit"),
        ("Touch 'n Go", "e-wallet"),
        ("GO-PAY", "e-wallet"),
        ("T-CASH", "e-wallet"),
        ("MoMo", "e-wallet"),
        ("Überweisung", "bank-transfer"),
        ("Barter", "other"),
    ],
)
def test_a_payment_method_is_one_of_few(text: str, expected: str) -> None:
    assert read_payment_method(text) == expected
    assert expected in PAYMENT_METHODS


@pytest.mark.parametrize(
    ("mark", "language", "country", "expected"),
    [
        ("RM", None, None, "MYR"),
        ("rm", None, None, "MYR"),
        ("$", None, None, "USD"),
        ("$", "en", "MYR", "MYR"),
        ("S$", None, None, "SGD"),
        ("Rp.", None, None, "IDR"),
        ("₫", None, None, "VND"),
        ("đ", None, None, "VND"),
        ("€", None, None, "EUR"),
        ("Euro", None, None, "EUR"),
        ("£", None, None, "GBP"),
        ("¥", None, None, "JPY"),
        ("¥", "zh", None, "CNY"),
        ("CHF", None, None, "CHF"),
        ("Fr", None, None, None),
        ("kr", "sv", None, "SEK"),
        ("kr", None, None, None),
        ("usd", None, None, "USD"),
        ("XYZ", None, None, None),
    ],
)
def test_a_currency_is_its_iso_code(mark: str, language: str | None, country: str | None, expected: str | None) -> None:
    assert currencies.resolve(mark, language=language, country=country) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BOOK TALK SDN BHD 81100 JOHOR BAHRU", "MYR"),
        ("12 Orchard Road, Singapore 238841", "SGD"),
        ("ABN: 12 097 860 887 Sydney NSW 2000", "AUD"),
        ("5305 E Pacific Coast Hwy, Long Beach, CA 90804", "USD"),
        ("1055 Canada Pl, Vancouver, BC V6C 0C3", "CAD"),
        ("Hauptstr. 1, 10115 Berlin", None),
    ],
)
def test_an_address_tells_which_dollar(text: str, expected: str | None) -> None:
    assert currencies.country_currency(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RM9.00", "RM"),
        ("$ 8.20", "$"),
        ("12,50 €", "€"),
        ("25.000đ", "đ"),
        ("15,20EUR", "EUR"),
        ("TOTAL 9.00", None),
        ("ARMS 9", None),
    ],
)
def test_a_symbol_is_found_beside_an_amount(text: str, expected: str | None) -> None:
    assert currencies.find_mark(text) == expected
