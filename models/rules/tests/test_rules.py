"""What the model makes of receipts and invoices as people print them, through the engine that hosts it."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from billow.engines.manifest import read_manifest
from billow.engines.runtimes.python_runtime import PythonEngine
from billow.schemas.labels import WORD_LABELS

FOLDER = Path(__file__).parents[1]
CHAR, LINE = 10.0, 24.0  # px a character, px from one row to the next


@dataclass
class Reading:
    """The words of each label, joined; items and tax rows by key."""

    fields: dict[str, str]
    items: list[dict[str, str]]
    taxes: list[dict[str, str]]
    kind: str
    language: str
    scores: dict[str, float]


@pytest.fixture(scope="module")
def engine() -> PythonEngine:
    return PythonEngine(read_manifest(FOLDER / "manifest.toml"))


def tensors(rows: Sequence[str], angle: float = 0.0, width: int = 460) -> dict[str, NDArray[Any]]:
    """Words of rows of monospaced print; three spaces or more begin another line of the reader in the same row."""
    words: list[str] = []
    quads: list[list[float]] = []
    lines: list[int] = []
    line = -1
    for number, row in enumerate(rows):
        y = 20.0 + LINE * number
        for run in re.finditer(r"\S+(?: {1,2}\S+)*", row):
            line += 1
            for word in re.finditer(r"\S+", run.group()):
                x = 20.0 + CHAR * (run.start() + word.start())
                x1 = x + CHAR * len(word.group())
                words.append(word.group())
                quads.append([x, y, x1, y, x1, y + 18, x, y + 18])
                lines.append(line)
    corners = np.array(quads, dtype=np.float32).reshape(-1, 4, 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], dtype=np.float32)
    return {
        "words": np.array(words, dtype=object),
        "quads": (corners @ turn).reshape(-1, 8),
        "page": np.zeros(len(words), dtype=np.int32),
        "line": np.array(lines, dtype=np.int32),
        "page_size": np.array([[width, 40 + LINE * len(rows)]], dtype=np.int32),
        "kind": np.array([""], dtype=object),
        "language": np.array([""], dtype=object),
    }


def read(engine: PythonEngine, text: str, angle: float = 0.0, width: int = 460) -> Reading:
    inputs = tensors([row for row in text.splitlines() if row.strip()], angle, width)
    outputs = engine.run(inputs)
    labels = [str(label) for label in outputs["labels"]]
    assert set(labels) <= set(WORD_LABELS)
    fields: dict[str, str] = {}
    groups: dict[tuple[str, int], dict[str, str]] = {}
    scores: dict[str, float] = {}
    for word, label, group, score in zip(inputs["words"], labels, outputs["groups"], outputs["scores"], strict=True):
        if not label:
            continue
        scores[label] = float(score)
        prefix, _, key = label.partition(".")
        known = groups.setdefault((prefix, int(group)), {}) if key else fields
        known[key or label] = f"{known[key or label]} {word}" if (key or label) in known else str(word)
    return Reading(
        fields,
        [keys for (prefix, _), keys in groups.items() if prefix == "item"],
        [keys for (prefix, _), keys in groups.items() if prefix == "tax"],
        str(outputs["kind"][0]),
        str(outputs["language"][0]),
        scores,
    )


CAFE = """
            GREEN LEAF CAFE SDN BHD
                  (123456-A)
              12, JALAN BUNGA 3,
            50000 KUALA LUMPUR.
               TEL : 03-1234 5678
                 TAX INVOICE
INV NO : A0012345        DATE : 05/03/2018 14:22
CASHIER : AMY
ITEM              QTY      PRICE     AMOUNT
ICED LEMON TEA     2       3.50        7.00 SR
CHICKEN RICE       1      12.00       12.00 SR
SUB TOTAL                             19.00
SERVICE CHARGE 10%                     1.90
GST 6%                                 1.25
ROUNDING ADJ                           0.00
TOTAL QTY :        3
GRAND TOTAL              RM           22.15
CASH                                  50.00
CHANGE                                27.85
GST SUMMARY          AMOUNT(RM)     TAX(RM)
SR   6%                20.90          1.25
      THANK YOU PLEASE COME AGAIN
"""


def test_a_receipt_in_full(engine: PythonEngine) -> None:
    found = read(engine, CAFE)
    assert found.fields == {
        "store_name": "GREEN LEAF CAFE SDN BHD",
        "store_address": "12, JALAN BUNGA 3, 50000 KUALA LUMPUR.",
        "phone": "03-1234 5678",
        "invoice_number": "A0012345",
        "date": "05/03/2018",
        "time": "14:22",
        "subtotal": "19.00",
        "service_charge": "1.90",
        "tax": "1.25",
        "rounding": "0.00",
        "currency": "RM",
        "total": "22.15",
        "payment_method": "CASH",
        "paid": "50.00",
        "change": "27.85",
    }
    assert found.items == [
        {"name": "ICED LEMON TEA", "quantity": "2", "unit_price": "3.50", "amount": "7.00"},
        {"name": "CHICKEN RICE", "quantity": "1", "unit_price": "12.00", "amount": "12.00"},
    ]
    assert found.taxes == [{"rate": "6%", "amount": "1.25"}]
    assert (found.kind, found.language) == ("receipt", "en")


@pytest.mark.parametrize("angle", [-0.12, 0.06, np.pi / 2])
def test_a_leaning_or_turned_page_reads_the_same(engine: PythonEngine, angle: float) -> None:
    straight, turned = read(engine, CAFE), read(engine, CAFE, angle)
    assert turned.fields == straight.fields
    assert turned.items == straight.items


def test_misread_and_glued_keywords_are_understood(engine: PythonEngine) -> None:
    found = read(
        engine,
        """
        KEDAI KOPI
        T0TAL SALES (lNCLUSlVE OF GST)      12.34
        ROUR DING ADJUSTMENT                 0.01
        ROUND D TOTAL                       12.35
        CASHTENDERED                        20.00
        CHANGEDUE                            7.65
        """,
    )
    assert found.fields["total"] == "12.35"
    assert found.fields["rounding"] == "0.01"
    assert (found.fields["paid"], found.fields["change"]) == ("20.00", "7.65")


@pytest.mark.parametrize(
    ("rows", "total"),
    [
        (
            "TOTAL QTY 3   39.75\nTOTAL (EXCLUDING GST)   37.50\nTOTAL GST   2.25\nTOTAL (INCLUSIVE OF GST)   39.75",
            "39.75",
        ),
        ("TOTAL   22.53\nROUNDING   0.02\nTOTAL   22.55", "22.55"),
        ("TOTAL   22.53\nROUNDING   -0.03\nNET TOTAL   22.50", "22.50"),
        ("TOTAL SAVING   5.00\nSUBTOTAL   25.00\nDISCOUNT   5.00\nTOTAL   20.00", "20.00"),
        ("BALANCE BEFORE   1.90\nBALANCE AFTER   31.40\nTOTAL   30.00\nCASH   30.00", "30.00"),
        ("TOTAL INCL. GST\n                         RM 7.16\nCASH   10.00\nCHANGE   2.84", "7.16"),
        ("TOTAL 6% SUPPLIES   25.44\nTOTAL 0% SUPPLIES   7.61\nTOTAL PAYABLE   33.05", "33.05"),
        ("SUBTOTAL   18.00\nTAX   1.44\nT?TXL   19.44\nCASH   20.00\nCHANGE   0.56", "19.44"),
        ("SUMME EUR   20,08\nMASTERCARD   20,08", "20,08"),
        ("TOTAL   43.636\nTAX 10%   4.364\nGRAND TOTAL   48.000\nTUNAI   50.000\nKEMBALI   2.000", "48.000"),
        ("TONG CONG   1.250.000\nTIEN MAT   1.300.000\nTIEN THUA   50.000", "1.250.000"),
        ("MÓN HAI   50.000\nMÓN BA   99.000\nTỔNG CỘNG   150.000", "150.000"),
        ("TOTAL   26.70\nTOTAL INCLUDES GST 6%   1.51", "26.70"),
        ("TOTAL TTC   12,50\nDONT TVA 20%   2,08", "12,50"),
        ("TOTALE EURO   8,40\nCONTANTI   10,00\nRESTO   1,60", "8,40"),
    ],
)
def test_the_total_is_what_had_to_be_paid(engine: PythonEngine, rows: str, total: str) -> None:
    assert read(engine, "CORNER SHOP\n1 THING   1.00\n" + rows).fields["total"].removeprefix("RM ") == total


@pytest.mark.parametrize(
    ("row", "date"),
    [
        ("DATE : 25/12/2018 8:13 PM", "25/12/2018"),
        ("05 MAR 2018 18:40", "05 MAR 2018"),
        ("Mar 5, 2018", "Mar 5, 2018"),
        ("20180304 11:20", "20180304"),
        ("2018-03-04T11:20", "2018-03-04T11:20"),
        ("Datum: 25.03.2018 14:22 Uhr", "25.03.2018"),
        ("3. Januar 2019", "3. Januar 2019"),
        ("le 7 février 2020", "7 février 2020"),
        ("Ngày 12 tháng 03 năm 2019", "12 tháng 03 năm 2019"),
        ("28MAR18 10:00", "28MAR18"),
        ("I2/03/2O18 10:00", "I2/03/2O18"),
        ("EXP DATE : 01/01/2030  DATE : 02/03/2018", "02/03/2018"),
        ("MEMBER SINCE 01/02/2010\n03/04/2018 10:00", "03/04/2018"),
        ("VALID UNTIL 01/05/2018\nDATE 03/04/2018", "03/04/2018"),
    ],
)
def test_the_date_is_that_of_the_sale(engine: PythonEngine, row: str, date: str) -> None:
    assert read(engine, f"CORNER SHOP\n{row}\nTOTAL   4.00").fields["date"] == date


def test_numbers_that_are_no_dates(engine: PythonEngine) -> None:
    assert "date" not in read(engine, "CORNER SHOP\nTEL 03-99-887766\nREF 12.34.5678.90\nTOTAL   99.99").fields


@pytest.mark.parametrize(
    "rows",
    [
        "1762   1   7.95   7.95 SR\n17MM COMB SPANNER\n1041   2   15.90   31.80 SR\nROOFING SHEET",
        "17MM COMB SPANNER\n1762   1   7.95   7.95 SR\nROOFING SHEET\n1041   2   15.90   31.80 SR",
    ],
    ids=["name below", "name above"],
)
def test_names_in_a_row_of_their_own(engine: PythonEngine, rows: str) -> None:
    found = read(engine, f"HARDWARE SHOP\nITEM   QTY   PRICE   AMOUNT   TAX\n{rows}\nTOTAL   39.75")
    assert found.items == [
        {"name": "17MM COMB SPANNER", "code": "1762", "quantity": "1", "unit_price": "7.95", "amount": "7.95"},
        {"name": "ROOFING SHEET", "code": "1041", "quantity": "2", "unit_price": "15.90", "amount": "31.80"},
    ]


@pytest.mark.parametrize(
    "rows", ["MUNDWASSER   1,50 B\n2 x 0,75", "2 x 0,75\nMUNDWASSER   1,50 B"], ids=["after", "before"]
)
def test_quantity_and_price_in_a_row_of_their_own(engine: PythonEngine, rows: str) -> None:
    found = read(engine, f"BIOMARKT\nBROT   2,00 B\n{rows}\nSUMME EUR   3,50")
    assert found.items[1] == {"name": "MUNDWASSER", "quantity": "2", "unit_price": "0,75", "amount": "1,50"}


@pytest.mark.parametrize(
    ("rows", "taxes", "tax"),
    [
        ("Subtotal   36.40\nSales Tax 9.5%   3.46\nTotal   39.86", [("9.5%", "3.46")], None),
        ("Subtotal   20.00\nGST 6% 1.20\nTotal   21.20", [("6%", "1.20")], None),
        ("Netto   8,21\nMwSt 19% 1,56\nSumme   9,77", [("19%", "1,56")], None),
        ("Total   26.70\nTotal Includes GST 6%   1.51", [("6%", "1.51")], None),
        ("Netto   20,00\nMwSt 19% 1,90\nMwSt 7% 0,70\nSumme   22,60", [("19%", "1,90"), ("7%", "0,70")], None),
        (
            "Subtotal   20.00\nGST 5% 1.00\nPST 7% 1.40\nTotal Tax   2.40\nTotal   22.40",
            [("5%", "1.00"), ("7%", "1.40")],
            "2.40",
        ),
        ("Subtotal   20.00\nTax   1.20\nTotal   21.20", [], "1.20"),
    ],
)
def test_a_line_with_rate_and_tax_does_for_a_tax_table(
    engine: PythonEngine, rows: str, taxes: list[tuple[str, str]], tax: str | None
) -> None:
    found = read(engine, "CORNER SHOP\n1 THING   20.00\n" + rows)
    assert [(row["rate"], row["amount"]) for row in found.taxes] == taxes
    assert found.fields.get("tax") == tax


@pytest.mark.parametrize(
    ("head", "name", "address"),
    [
        (
            "UNIT BAKERY SDN BHD\n05 Mar 2018 18:24\n(867388-U)\n12, Jalan Bunga 7/4, Taman Bunga,81200 Johor Bahru",
            "UNIT BAKERY SDN BHD",
            "12, Jalan Bunga 7/4, Taman Bunga,81200 Johor Bahru",
        ),
        (
            "PETRO ENTERPRISE\nSite: 2395\nLOT 485\nJLN ULU\n54200 KUALA LUMPUR\nTelephone: 03-41056485",
            "PETRO ENTERPRISE",
            "LOT 485 JLN ULU 54200 KUALA LUMPUR",
        ),
        (
            "NEWS STAND SDN BHD\nLOT R1, ARAH UTARA,\n84600 PAGOH, JOHOR\nNewsCareline: 1800 88 1231"
            "\nhelp@news.example.com\nNEWS RETAIL SB (306295-X)",
            "NEWS STAND SDN BHD",
            "LOT R1, ARAH UTARA, 84600 PAGOH, JOHOR",
        ),
        (
            "ann lee\nBOOK HOUSE (TAMAN) SDN BHD\n5, JALAN SAGU 18,\n81100 JOHOR BAHRU",
            "BOOK HOUSE (TAMAN) SDN BHD",
            "5, JALAN SAGU 18, 81100 JOHOR BAHRU",
        ),
        (
            "TALL TREE SDN BHD\nTREE Cheras\nNo 2A Jalan Cochrane\n55100 KUALA LUMPUR, MALAYSIA\nSUNNY PLAZA",
            "TALL TREE SDN BHD",
            "No 2A Jalan Cochrane 55100 KUALA LUMPUR, MALAYSIA",
        ),
        (
            "Grill & Bar\nT.A.S Leisure Sdn Bhd (256864-P)\nTel: 03-2164 1400",
            "T.A.S Leisure Sdn Bhd",
            None,
        ),
        ("K3-113, JL SULTAN\n80300 JOHOR BAHRU\nJOHOR", None, "K3-113, JL SULTAN 80300 JOHOR BAHRU JOHOR"),
        ("Kornblume Markt\nLindenallee 27\n09999 Musterhain", "Kornblume Markt", "Lindenallee 27 09999 Musterhain"),
        ("Blue Heron\n418 Alder Street\nPinewick, CA 90000", "Blue Heron", "418 Alder Street Pinewick, CA 90000"),
        (
            "BREAD SDN BHD\nLOT 3, JALAN PELABUR\n40300 SHAH ALAM\nTAX INVOICE\nFRESH MARKET\nGROUND FLOOR, NO. 4,"
            " JALAN SS 15,\n47500 SUBANG JAYA, SELANGOR",
            "BREAD SDN BHD",
            "LOT 3, JALAN PELABUR 40300 SHAH ALAM",
        ),
    ],
)
def test_the_shop_and_where_it_is(engine: PythonEngine, head: str, name: str | None, address: str | None) -> None:
    found = read(engine, f"{head}\nTHING   4.00\nTOTAL   4.00")
    assert (found.fields.get("store_name"), found.fields.get("store_address")) == (name, address)


@pytest.mark.parametrize(
    ("row", "phone"),
    [
        ("Tel: 03-1234 5678", "03-1234 5678"),
        ("Te1. 030 23125 448", "030 23125 448"),
        ("03-7845 8155", "03-7845 8155"),
        ("(415) 555-0142", "(415) 555-0142"),
        ("1-300-888-333", "1-300-888-333"),
        ("GST Reg: 001734164480", None),
        ("Receipt: 0012-345 6789", None),
    ],
)
def test_the_phone(engine: PythonEngine, row: str, phone: str | None) -> None:
    assert read(engine, f"CORNER SHOP\n{row}\nTHING   4.00\nTOTAL   4.00").fields.get("phone") == phone


@pytest.mark.parametrize("symbol", ["$", "€", "£", "RM", "EUR"])
def test_a_symbol_at_an_amount_is_the_currency(engine: PythonEngine, symbol: str) -> None:
    assert read(engine, f"CORNER SHOP\nTHING   4.00\nTOTAL   {symbol} 4.00").fields["currency"] == symbol


def test_a_time_counts_wherever_it_is_named(engine: PythonEngine) -> None:
    rows = "DATE:02/01/2018\nCASHIER:AMY\nTABLE:4\nSALESPERSON:BOB   TIME:14:31:00\nTHING   4.00\nTOTAL   4.00"
    assert read(engine, f"CORNER SHOP\n{rows}").fields["time"].endswith("14:31:00")


INVOICE = """
Muster Handel GmbH                                                Rechnungsnummer   RE-2018/0042
Hauptstraße 20                                                    Rechnungsdatum    05.03.2018
80333 München                                                     Leistungsdatum    01.03.2018

Rechnung an:
Kunden AG Mitte
Kundenweg 15
69876 Frankfurt

Pos   Beschreibung                Menge     Einzelpreis      Gesamtpreis
1     Trennblätter A4             20          9,90             198,00
2     Joghurt Banane              50          5,50             275,00

Nettobetrag                                                    473,00
zzgl. 19% MwSt                                                  89,87
Gesamtbetrag                                                   562,87 EUR
Zahlbar bis 04.04.2018 auf IBAN DE88 2008 0000 0970 3757 00
USt-IdNr. DE123456789
"""


def test_an_invoice(engine: PythonEngine) -> None:
    found = read(engine, INVOICE, width=1240)
    assert (found.kind, found.language) == ("invoice", "de")
    expected = {
        "store_name": "Muster Handel GmbH",
        "invoice_number": "RE-2018/0042",
        "date": "05.03.2018",
        "due_date": "04.04.2018",
        "buyer_name": "Kunden AG Mitte",
        "buyer_address": "Kundenweg 15 69876 Frankfurt",
        "subtotal": "473,00",
        "total": "562,87",
        "currency": "EUR",
        "iban": "DE88 2008 0000 0970 3757 00",
        "seller_tax_id": "DE123456789",
    }
    assert {label: found.fields.get(label) for label in expected} == expected
    assert found.taxes == [{"rate": "19%", "amount": "89,87"}]
    assert [(item["name"], item["quantity"], item["amount"]) for item in found.items] == [
        ("Trennblätter A4", "20", "198,00"),
        ("Joghurt Banane", "50", "275,00"),
    ]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Summe EUR   3,50\nBar   5,00\nRückgeld   1,50\nVielen Dank für Ihren Einkauf", "de"),
        ("TOTAL A PAYER   3,50\nESPECES   5,00\nRENDU   1,50\nMERCI DE VOTRE VISITE", "fr"),
        ("Fecha 01/02/2020\nEFECTIVO   5,00\nCAMBIO   1,50\nGRACIAS POR SU VISITA", "es"),
        ("TOTALE   3,50\nCONTANTI   5,00\nRESTO   1,50\nGRAZIE E ARRIVEDERCI", "it"),
        ("Totaal   3,50\nContant   5,00\nWisselgeld   1,50\nBedankt en tot ziens", "nl"),
        ("TUNAI   50.000\nKEMBALI   2.000\nTERIMA KASIH ATAS KUNJUNGAN ANDA", "id"),
        ("Tổng cộng   50.000\nTiền mặt   100.000\nTiền thừa   50.000\nCảm ơn quý khách", "vi"),
    ],
)
def test_the_language(engine: PythonEngine, text: str, language: str) -> None:
    assert read(engine, text).language == language


def test_the_table_below_the_buyer_is_not_the_address(engine: PythonEngine) -> None:
    near = INVOICE.replace("69876 Frankfurt\n\n", "69876 Frankfurt\n").replace("Pos   ", "      ")
    assert read(engine, near, width=1240).fields["buyer_address"] == "Kundenweg 15 69876 Frankfurt"


def test_what_is_known_is_not_guessed_again(engine: PythonEngine) -> None:
    inputs = tensors(["TOTAL   9.00"])
    inputs |= {"kind": np.array(["invoice"], dtype=object), "language": np.array(["ms"], dtype=object)}
    outputs = engine.run(inputs)
    assert (outputs["kind"][0], outputs["language"][0]) == ("invoice", "ms")


def test_a_guessed_total_is_less_sure_than_one_that_adds_up(engine: PythonEngine) -> None:
    guessed = read(engine, "CORNER SHOP\nTHING   4.00\nOTHER   5.00")
    sure = read(engine, CAFE)
    assert guessed.fields["total"] == "5.00" or "total" not in guessed.fields
    assert guessed.scores.get("total", 0.0) < 0.5 < sure.scores["total"]


@pytest.mark.parametrize("text", ["***", "a", "....  ,,,  ::", "(((  )))  --", "0 0 0 0", "TOTAL", "RM", "١٢٣ ٤٥"])
def test_scraps_do_no_harm(engine: PythonEngine, text: str) -> None:
    assert "date" not in read(engine, text).fields


def test_degenerate_quads_do_no_harm(engine: PythonEngine) -> None:
    inputs = tensors(["TOTAL   9.00"])
    assert len(engine.run(inputs | {"quads": np.zeros_like(inputs["quads"])})["labels"]) == 2


def seconds_for(engine: PythonEngine, rows: Sequence[str]) -> float:
    """Processor time, the least of three runs."""
    inputs = tensors(rows)
    taken: list[float] = []
    for _ in range(3):
        started = time.process_time()
        engine.run(inputs)
        taken.append(time.process_time() - started)
    return min(taken)


def test_long_documents_take_time_in_proportion(engine: PythonEngine) -> None:
    """Ten times the words may take ten times as long and some, but not a hundred times."""

    def seconds(count: int) -> float:
        body = [f"{i}   Part number {i} of 1234567   2   10.00   20.00" for i in range(count)]
        return seconds_for(engine, [*body, "Total   9.00"])

    seconds(30)
    assert seconds(300) < 40 * seconds(30)


def test_a_document_of_nothing_but_summaries_is_done_quickly(engine: PythonEngine) -> None:
    kinds = ("TOTAL", "TAX", "SERVICE CHARGE", "DISCOUNT", "SUBTOTAL", "CASH", "CHANGE", "ROUNDING")

    def seconds(count: int) -> float:
        return seconds_for(engine, [f"{kinds[i % len(kinds)]}   {i}.{i % 100:02}" for i in range(count)])

    seconds(100)
    # Less than with the square of their number; it is about 45 times as long.
    assert seconds(1600) < 100 * seconds(100)


@pytest.mark.parametrize("text", ["1" * 400, "1," * 200, "TOTAL" * 80, "(" * 300, "1 " * 400, "a1" * 200, "12/" * 100])
def test_hostile_words_are_done_quickly(engine: PythonEngine, text: str) -> None:
    started = time.process_time()
    read(engine, text)
    assert time.process_time() - started < 2.0
