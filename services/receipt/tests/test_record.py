from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from billow.schemas.events import Analyzed, Entity, Group, ImageRef, Origin, Recognized, Submitted
from billow.schemas.geometry import Page, Region
from billow.schemas.labels import FIELD_NAMES
from billow.schemas.record import Failure, Record
from billow.services.receipt.domain import build_record, failed_record

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
PLACE = Region(page=0, quad=(0.0, 0.0, 10.0, 0.0, 10.0, 5.0, 0.0, 5.0))


def entity(label: str, text: str, confidence: float = 0.98) -> Entity:
    return Entity(label=label, text=text, confidence=confidence, regions=(PLACE,))


def line(**texts: str) -> Group:
    return Group(entities=tuple(entity(f"item.{key}", text) for key, text in texts.items()))


def tax_row(**texts: str) -> Group:
    return Group(entities=tuple(entity(f"tax.{key}", text) for key, text in texts.items()))


def analyzed(*entities: Entity, **more: Any) -> Analyzed:
    known: dict[str, Any] = {
        "origin": Origin(source="a.jpg", submitted_at=NOW),
        "pages": (Page(width=463, height=1013),),
        "kind": "receipt",
        "language": "en",
        "models": {"text-detection": "ppocr-v6-det-small_1-0-0"},
        "timings_ms": {"decode": 4.0},
    }
    return Analyzed(
        tenant="default",
        document_id="doc-1",
        event_id="doc-1.1.analyzed",
        occurred_at=NOW,
        entities=entities,
        **(known | more),
    )


def values(record: Record) -> dict[str, str]:
    return {name: field.value for name, field in record.fields.items()}


def failed_checks(record: Record) -> dict[str, str]:
    return {check.name: check.detail for check in record.checks if check.passed is False}


NOODLES = (
    entity("total", "$33.26"),
    entity("store_name", "HP Pho Ga"),
    entity("store_address", "5305 E Pacific Coast Hwy, Long Beach, CA 90804"),
    entity("date", "04/01/2019"),
    entity("time", "8:13:39 PM"),
    entity("subtotal", "22.25"),
    entity("tax", "2.11"),
    entity("tip", "8.90"),
)
NOODLE_LINES = (
    line(name="Pho Ga (Small)", quantity="1", amount="8.00"),
    line(name="Bun Cha", quantity="1", unit_price="14.25", amount="14.25"),
)

GOLDEN: dict[str, Any] = {
    "schema": "billow.record.v1",
    "source": "a.jpg",
    "tenant": "default",
    "document_id": "doc-1",
    "revision": 1,
    "run_id": None,
    "kind": "receipt",
    "language": "en",
    "status": "completed",
    "error": None,
    "straight_through": True,
    "pages": [{"width": 463, "height": 1013}],
    "taxes": [{"rate": "0.095", "amount": "2.11"}],
    "checks": [
        {"name": "items_sum_to_subtotal", "passed": True, "detail": "22.25 = 22.25"},
        {"name": "subtotal_tax_to_total", "passed": True, "detail": "22.25 + 2.11 tax + 8.90 tip = 33.26"},
        {"name": "paid_minus_change_is_total", "passed": None, "detail": "no payment or no total"},
        {"name": "item_quantity_times_price", "passed": True, "detail": "1 of 1 lines"},
        {"name": "tax_rates_match", "passed": True, "detail": "22.25 x 9.5 % = 2.11"},
        {"name": "date_not_in_future", "passed": True, "detail": "2019-04-01 <= 2026-06-15"},
    ],
    "models": {"text-detection": "ppocr-v6-det-small_1-0-0"},
    "timings_ms": {"decode": 4.0, "receipt": 1.0},
    "link_bytes": {},
}


def test_the_record_of_a_receipt() -> None:
    event = analyzed(*NOODLES, items=NOODLE_LINES, taxes=(tax_row(rate="9.5%", amount="2.11"),))
    record = build_record(event, timings_ms={"receipt": 1.0})
    built = msgspec.json.decode(msgspec.json.encode(record))
    fields, items = built.pop("fields"), built.pop("items")
    assert built == GOLDEN
    assert fields["store_name"] == {
        "value": "HP Pho Ga",
        "text": "HP Pho Ga",
        "confidence": 0.98,
        "regions": [{"page": 0, "quad": [0.0, 0.0, 10.0, 0.0, 10.0, 5.0, 0.0, 5.0]}],
    }
    assert {name: field["value"] for name, field in fields.items()} == {
        "store_name": "HP Pho Ga",
        "store_address": "5305 E Pacific Coast Hwy, Long Beach, CA 90804",
        "date": "2019-04-01",
        "time": "20:13",
        "currency": "USD",
        "subtotal": "22.25",
        "tax": "2.11",
        "tip": "8.90",
        "total": "33.26",
    }
    assert items[0] == {
        "name": "Pho Ga (Small)",
        "quantity": "1",
        "amount": "8.00",
        "confidence": 0.98,
        "regions": [{"page": 0, "quad": [0.0, 0.0, 10.0, 0.0, 10.0, 5.0, 0.0, 5.0]}] * 3,
    }
    assert [name for name in FIELD_NAMES if name in fields] == list(fields)


def test_the_same_event_gives_the_same_record() -> None:
    assert build_record(analyzed(*NOODLES)) == build_record(analyzed(*NOODLES))


def test_a_blank_page_completes_with_nothing_on_it() -> None:
    record = build_record(analyzed(kind=None, language=None))
    assert (record.status, record.straight_through) == ("completed", False)
    assert (record.fields, record.items, record.taxes) == ({}, (), ())
    assert {check.passed for check in record.checks} == {None}


def test_what_cannot_be_read_is_absent_and_said() -> None:
    record = build_record(
        analyzed(
            *NOODLES[:2],
            entity("date", "31/02/2018"),
            entity("phone", "HOPS"),
            items=(line(name="Tea", amount="free"),),
            taxes=(tax_row(rate="SR", amount="2.11"),),
        )
    )
    assert record.fields.keys().isdisjoint({"date", "phone"})
    assert failed_checks(record) == {
        "date_is_readable": "'31/02/2018' is not a date",
        "phone_is_readable": "'HOPS' is not a phone number",
        "item_amount_is_readable": "line 1: 'free' is not an amount",
        "tax_rate_is_readable": "'SR' is not a rate",
    }
    assert msgspec.to_builtins(record.items)[0].keys() == {"name", "confidence", "regions"}
    assert not record.straight_through


def test_a_dash_only_holds_the_place_of_an_amount() -> None:
    record = build_record(analyzed(entity("tax", "-"), items=(line(name="Tea", quantity="x", amount="3.00"),)))
    assert record.fields == {}
    assert failed_checks(record) == {}
    assert msgspec.to_builtins(record.items)[0].keys() == {"name", "amount", "confidence", "regions"}


def test_a_group_with_nothing_in_it_is_no_item() -> None:
    assert build_record(analyzed(items=(line(name="---"), line(name="Tea")))).items[0].name == "Tea"


@pytest.mark.parametrize(
    ("language", "texts", "expected"),
    [
        ("id", {"total": "Rp 25.000", "paid": "50.000"}, {"total": "25000", "paid": "50000", "currency": "IDR"}),
        ("id", {"total": "36,300", "paid": "50,000"}, {"total": "36300", "paid": "50000"}),
        ("vi", {"total": "125.000đ"}, {"total": "125000", "currency": "VND"}),
        (None, {"total": "36.300", "paid": "40,000"}, {"total": "36300", "paid": "40000"}),
        ("de", {"total": "1.234,50 EUR"}, {"total": "1234.50", "currency": "EUR"}),
        ("de", {"total": "1.234 EUR"}, {"total": "1234.00", "currency": "EUR"}),
        ("en", {"total": "RM9.00", "currency": "RM"}, {"total": "9.00", "currency": "MYR"}),
        ("en", {"total": "$9.00", "store_name": "BOOK TALK SDN BHD"}, {"total": "9.00", "currency": "MYR"}),
        ("en", {"total": "8.2"}, {"total": "8.20"}),
        ("ja", {"total": "¥1,280"}, {"total": "1280", "currency": "JPY"}),
    ],
)
def test_money_follows_the_document(language: str | None, texts: dict[str, str], expected: dict[str, str]) -> None:
    entities = [entity(label, text) for label, text in texts.items()]
    found = values(build_record(analyzed(*entities, language=language)))
    assert found.items() >= expected.items()
    assert ("currency" in found) is ("currency" in expected)


def test_an_inferred_currency_is_less_sure_than_its_amount() -> None:
    currency = build_record(analyzed(entity("total", "$ 8.20"))).fields["currency"]
    assert (currency.value, currency.text, currency.regions) == ("USD", "$", (PLACE,))
    assert 0 < currency.confidence < 0.98


@pytest.mark.parametrize(("currency", "iso"), [("USD", "2019-04-01"), ("MYR", "2019-01-04"), ("EUR", "2019-01-04")])
def test_the_currency_decides_between_day_and_month(currency: str, iso: str) -> None:
    record = build_record(analyzed(entity("date", "04/01/2019"), entity("currency", currency)))
    assert record.fields["date"].value == iso
    assert record.fields["date"].confidence == 0.98


def test_a_time_printed_with_the_date_is_found() -> None:
    record = build_record(analyzed(entity("date", "25/12/2018 8:13:39 PM")))
    assert values(record) == {"date": "2018-12-25", "time": "20:13"}


def test_the_surest_readable_text_wins_and_of_equal_amounts_the_last() -> None:
    record = build_record(
        analyzed(
            entity("date", "soon", 0.99),
            entity("date", "25/12/2018", 0.7),
            entity("total", "9.02"),
            entity("total", "9.00"),
            entity("store_name", "First"),
            entity("store_name", "Second"),
        )
    )
    assert values(record) == {"store_name": "First", "date": "2018-12-25", "total": "9.00"}


def test_a_long_address_is_joined() -> None:
    record = build_record(analyzed(entity("store_address", "12 High St,"), entity("store_address", "Oxford", 0.6)))
    address = record.fields["store_address"]
    assert (address.value, address.confidence, len(address.regions)) == ("12 High St, Oxford", 0.6, 2)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ({"quantity": "1.000", "unit_price": "5.00", "amount": "5.00"}, ("1", "5.00", "5.00")),
        ({"quantity": "1.000", "unit_price": "0.05", "amount": "50.00"}, ("1000", "0.05", "50.00")),
        ({"quantity": "2", "unit_price": "9.000", "amount": "18.00"}, ("2", "9.00", "18.00")),
        ({"quantity": "261 @2 X", "unit_price": "24.35", "amount": "48.70"}, ("2", "24.35", "48.70")),
        ({"quantity": "2x", "unit_price": "@ 4.50", "amount": "9.00 SR"}, ("2", "4.50", "9.00")),
    ],
)
def test_arithmetic_settles_what_a_mark_means(texts: dict[str, str], expected: tuple[str, ...]) -> None:
    item = build_record(analyzed(items=(line(**texts),))).items[0]
    assert (item.quantity, item.unit_price, item.amount) == expected


def test_a_conflict_asks_for_a_person_and_keeps_what_is_printed() -> None:
    entities = [e if e.label != "total" else entity("total", "83.26") for e in NOODLES]
    record = build_record(analyzed(*entities))
    assert record.status == "completed"
    assert not record.straight_through
    assert record.fields["total"].value == "83.26"
    assert record.fields["total"].confidence < 0.98
    assert failed_checks(record) == {"subtotal_tax_to_total": "22.25 + 2.11 tax + 8.90 tip = 33.26, printed is 83.26"}


@pytest.mark.parametrize(
    ("kind", "missing", "expected"),
    [
        ("receipt", "", True),
        ("receipt", "date", False),
        ("receipt", "total", False),
        ("receipt", "invoice_number", True),
        ("invoice", "", True),
        ("invoice", "date", True),
        ("invoice", "invoice_number", False),
        (None, "date", False),
    ],
)
def test_straight_through_needs_the_key_fields_of_its_kind(kind: str | None, missing: str, expected: bool) -> None:
    entities = [e for e in (*NOODLES, entity("invoice_number", "INV-17")) if e.label != missing]
    assert build_record(analyzed(*entities, kind=kind)).straight_through is expected


def test_straight_through_needs_sure_key_fields() -> None:
    assert build_record(analyzed(*NOODLES), min_confidence=0.98).straight_through
    assert not build_record(analyzed(*NOODLES), min_confidence=0.99).straight_through


def test_today_is_the_day_of_submission_unless_given() -> None:
    entities = (entity("date", "2026-07-01"),)
    assert "date_not_in_future" in failed_checks(build_record(analyzed(*entities)))
    assert failed_checks(build_record(analyzed(*entities), today=date(2026, 7, 1))) == {}


def test_an_invoice() -> None:
    record = build_record(
        analyzed(
            entity("invoice_number", "Rechnung Nr. RE-20170509/505"),
            entity("date", "9. Mai 2017"),
            entity("due_date", "23.05.2017"),
            entity("seller_tax_id", "USt-IdNr.: DE 123 456 789"),
            entity("iban", "DE89 3704 0044 0532 0130 00"),
            entity("subtotal", "1.000,00 €"),
            entity("tax", "190,00 €"),
            entity("total", "1.190,00 €"),
            entity("amount_due", "1.190,00 €"),
            kind="invoice",
            language="de",
        )
    )
    assert values(record) == {
        "date": "2017-05-09",
        "currency": "EUR",
        "subtotal": "1000.00",
        "tax": "190.00",
        "total": "1190.00",
        "invoice_number": "RE-20170509/505",
        "due_date": "2017-05-23",
        "seller_tax_id": "DE123456789",
        "amount_due": "1190.00",
        "iban": "DE89370400440532013000",
    }
    assert failed_checks(record) == {}
    assert record.straight_through


FAILURE = Failure(code="image_too_large", message="The image has 900 megapixels. Send a smaller one.", stage="ocr")


def test_a_failure_keeps_what_is_known() -> None:
    ids: dict[str, Any] = {"tenant": "acme", "document_id": "doc-2", "event_id": "e", "occurred_at": NOW, "revision": 3}
    submitted = Submitted(image=ImageRef(key="doc-2/original"), source="b.png", kind="invoice", language="de", **ids)
    record = failed_record(submitted, FAILURE, timings_ms={"total": 2.0})
    assert (record.status, record.error, record.straight_through) == ("failed", FAILURE, False)
    assert (record.tenant, record.document_id, record.revision) == ("acme", "doc-2", 3)
    assert (record.source, record.kind, record.language) == ("b.png", "invoice", "de")
    assert record.timings_ms == {"total": 2.0}

    page = Page(width=10, height=10)
    origin = Origin(source="b.png", submitted_at=NOW)
    recognized = Recognized(origin=origin, pages=(page,), lines=(), models={"text-detection": "m"}, **ids)
    record = failed_record(recognized, FAILURE)
    assert (record.source, record.pages, record.models) == ("b.png", (page,), {"text-detection": "m"})


def test_every_label_is_read_by_a_rule() -> None:
    record = build_record(analyzed(*(entity(name, "?!") for name in FIELD_NAMES)))
    assert record.fields == {}
    record = build_record(analyzed(*(entity(name, "Q") for name in FIELD_NAMES)))
    texts = {"store_name", "store_address", "buyer_name", "buyer_address", "payment_method"}
    assert set(record.fields) == texts
    assert set(failed_checks(record)) == {f"{name}_is_readable" for name in FIELD_NAMES if name not in texts}


def test_a_lone_symbol_is_a_currency() -> None:
    record = build_record(analyzed(entity("currency", "$"), entity("total", "46.86"), language="en"))
    assert record.fields["currency"].value == "USD"
    assert record.fields["currency"].text == "$"
