"""The receipts that are kept in the project, written by hand."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from samples.content import Item, Receipt, tax_inside, tax_on_top
from samples.photo import Shot


@dataclass(frozen=True, kw_only=True)
class Showpiece:
    """A receipt and how it is photographed; `name` is the file name without its ending."""

    name: str
    receipt: Receipt
    shot: Shot


def _item(name: str, price: str, quantity: str = "1", tax_code: str = "", unit: str = "") -> Item:
    return Item(name=name, quantity=Decimal(quantity), unit_price=Decimal(price), tax_code=tax_code, unit=unit)


_CAFE_ITEMS = (
    _item("Cappuccino", "4.50", "2"),
    _item("Oat Flat White", "5.25"),
    _item("Avocado Toast", "11.50"),
    _item("Blueberry Scone", "4.25"),
    _item("Lemon Tart", "6.40"),
)
CAFE = Showpiece(
    name="receipt-cafe",
    receipt=Receipt(
        style="cafe",
        store_name="Blue Heron Coffee",
        address=("418 Alder Street", "Pinewick, CA 90000"),
        phone="(415) 555-0142",
        when=datetime(2025, 4, 18, 10, 42),  # noqa: DTZ001 - a till knows no zone
        number="1047",
        items=_CAFE_ITEMS,
        taxes=tax_on_top(_CAFE_ITEMS, Decimal("0.095")),
        tax_included=False,
        tip=Decimal("7.00"),
        payment_method="VISA",
        currency="USD",
    ),
    shot=Shot(
        width=1200,
        height=1600,
        corners=((0.225, 0.05), (0.765, 0.065), (0.80, 0.95), (0.19, 0.935)),
        bend=0.02,
        seed=7,
        warmth=0.45,
        fold=0.47,
    ),
)

_MARKET_ITEMS = (
    _item("Bio Vollmilch 1L", "1.29", "2", "B"),
    _item("Roggenbrot 750g", "3.49", tax_code="B"),
    _item("Tomaten lose", "2.99", "0.784", "B", "kg"),
    _item("Bergkäse 200g", "3.29", tax_code="B"),
    _item("Haferflocken 500g", "0.89", tax_code="B"),
    _item("Apfelsaft trüb 1L", "1.79", "3", "A"),
    _item("Spülmittel Zitrone", "1.45", tax_code="A"),
    _item("Küchenrolle 4er", "2.95", tax_code="A"),
)
MARKET = Showpiece(
    name="receipt-market",
    receipt=Receipt(
        style="market",
        store_name="Kornblume Frischemarkt",
        address=("Lindenallee 27", "09999 Musterhain"),
        phone="030 23125 448",
        when=datetime(2025, 3, 14, 17, 26),  # noqa: DTZ001 - a till knows no zone
        number="28519",
        items=_MARKET_ITEMS,
        taxes=tax_inside(_MARKET_ITEMS, {"A": Decimal("0.19"), "B": Decimal("0.07")}),
        tax_included=True,
        payment_method="BAR",
        currency="EUR",
        tax_id="DE999999999",
        cash=Decimal("50.00"),
    ),
    shot=Shot(
        width=1200,
        height=1700,
        corners=((0.20, 0.060), (0.80, 0.038), (0.845, 0.948), (0.15, 0.963)),
        bend=-0.025,
        seed=3,
        warmth=-0.2,
        wood=(92, 66, 50),
    ),
)
SHOWPIECES = (CAFE, MARKET)
