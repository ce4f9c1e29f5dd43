"""Receipts out of a seed. The same seed gives the same receipt on every machine."""

import random
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal

from samples.content import Item, Receipt, Style, tax_inside, tax_on_top

STYLES: tuple[Style, ...] = ("cafe", "market", "shop")

_NAMES: dict[Style, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cafe": (
        ("Blue Heron", "Copper Kettle", "Little Anchor", "Maple & Rye", "Paper Lantern", "Tin Rooster"),
        ("Coffee", "Bakery", "Diner", "Tea House", "Espresso Bar"),
    ),
    "market": (
        ("Kornblume", "Lindenhof", "Sonnentor", "Birkengrund", "Apfelbaum", "Rosenau"),
        ("Frischemarkt", "Bioladen", "Supermarkt", "Getränkemarkt", "Drogerie"),
    ),
    "shop": (
        ("BUNGA RAYA", "TIGA DAUN", "SENTOSA JAYA", "PELITA BARU", "KAYU MANIS", "SERI MUTIARA"),
        ("HARDWARE", "MINI MART", "STATIONERY", "TRADING", "HOME CENTRE"),
    ),
}
_GOODS: dict[Style, tuple[tuple[str, str, str], ...]] = {
    "cafe": (
        ("Cappuccino", "4.50", ""),
        ("Oat Flat White", "5.25", ""),
        ("Drip Coffee", "3.00", ""),
        ("Avocado Toast", "11.50", ""),
        ("Blueberry Scone", "4.25", ""),
        ("Egg Sandwich", "8.95", ""),
        ("Granola Bowl", "9.75", ""),
        ("Lemon Tart", "6.40", ""),
        ("Iced Chai", "5.60", ""),
        ("Bagel & Lox", "12.80", ""),
    ),
    "market": (
        ("Bio Vollmilch 1L", "1.29", "B"),
        ("Roggenbrot 750g", "3.49", "B"),
        ("Bergkäse 200g", "3.29", "B"),
        ("Butter 250g", "2.19", "B"),
        ("Eier Freiland 10er", "3.19", "B"),
        ("Spülmittel Zitrone", "1.45", "A"),
        ("Mineralwasser 6x1L", "3.54", "A"),
        ("Küchenrolle 4er", "2.95", "A"),
        ("Apfelsaft trüb", "1.79", "A"),
        ("Haferflocken", "0.89", "B"),
    ),
    "shop": (
        ("MASKING TAPE 24MM", "3.19", "S"),
        ("LED BULB 9W E27", "8.90", "S"),
        ("A4 PAPER 80GSM", "14.50", "S"),
        ("WALL HOOK 4PCS", "5.28", "S"),
        ("EXTENSION CORD 3M", "22.90", "S"),
        ("BALL PEN BLUE", "1.83", "S"),
        ("PLASTIC BOX 12L", "17.60", "S"),
        ("PADLOCK 40MM", "11.89", "S"),
        ("CLEANING CLOTH", "4.42", "S"),
        ("BATTERY AA 4S", "9.70", "S"),
    ),
}


def invent(seed: int, style: Style | None = None) -> Receipt:
    """A receipt with 2 to 6 different goods; `style` None takes one by the seed."""
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    chosen = style or STYLES[seed % len(STYLES)]
    first, second = _NAMES[chosen]
    name = f"{dice.choice(first)} {dice.choice(second)}"
    when = datetime(2024, 1, 1, 8, 0) + timedelta(minutes=dice.randrange(700) + 1440 * dice.randrange(700))  # noqa: DTZ001
    goods = dice.sample(_GOODS[chosen], dice.randint(2, 6))
    items = tuple(
        Item(
            name=good,
            quantity=Decimal(dice.choice((1, 1, 1, 2, 3))),
            unit_price=Decimal(price),
            tax_code=code,
            code=str(dice.randrange(10**7, 10**8)) if chosen == "shop" else "",
        )
        for good, price, code in goods
    )
    number = str(dice.randrange(1000, 99999))
    build = {"cafe": _cafe, "market": _market, "shop": _shop}[chosen]
    return build(dice, name, when, number, items)


def _cafe(dice: random.Random, name: str, when: datetime, number: str, items: tuple[Item, ...]) -> Receipt:
    rate = Decimal(dice.choice(("0.095", "0.0725", "0.08875")))
    net = sum((item.amount for item in items), Decimal())
    tip = Decimal(dice.randint(1, 9)) if dice.random() < 0.6 and net > 10 else None
    return Receipt(
        style="cafe",
        store_name=name,
        address=(f"{dice.randrange(100, 990)} Alder Street", "Pinewick, CA 90000"),
        phone=f"(415) 555-01{dice.randrange(10, 99)}",
        when=when,
        number=number,
        items=items,
        taxes=tax_on_top(items, rate),
        tax_included=False,
        tip=tip,
        payment_method=dice.choice(("VISA", "MASTERCARD")),
        currency="USD",
    )


def _market(dice: random.Random, name: str, when: datetime, number: str, items: tuple[Item, ...]) -> Receipt:
    return Receipt(
        style="market",
        store_name=name,
        address=(f"Lindenallee {dice.randrange(2, 98)}", "09999 Musterhain"),
        phone=f"030 23125 {dice.randrange(100, 999)}",
        when=when,
        number=number,
        items=items,
        taxes=tax_inside(items, {"A": Decimal("0.19"), "B": Decimal("0.07")}),
        tax_included=True,
        payment_method="girocard",
        currency="EUR",
        tax_id="DE999999999",
    )


def _shop(dice: random.Random, name: str, when: datetime, number: str, items: tuple[Item, ...]) -> Receipt:
    gross = sum((item.amount for item in items), Decimal())
    return Receipt(
        style="shop",
        store_name=f"{name} SDN BHD",
        address=(f"NO. {dice.randrange(2, 98)}, JALAN MELUR {dice.randrange(2, 9)},", "TAMAN CONTOH, 99999 JOHOR"),
        phone=f"07-555 {dice.randrange(1000, 9999)}",
        when=when,
        number=f"CS{number}",
        items=items,
        taxes=tax_inside(items, {"S": Decimal("0.06")}),
        tax_included=True,
        payment_method="CASH",
        currency="MYR",
        tax_id="000999999999",
        cash_step=Decimal("0.05"),
        cash=(gross / 10 + Decimal("0.01")).quantize(Decimal(1), ROUND_UP) * 10,
    )
