"""From lines to words, and from labelled words to entities."""

import math

import pytest

from billow.runtime.errors import PermanentError
from billow.schemas.events import Group
from billow.schemas.geometry import Quad, TextLine, Word
from billow.schemas.inference import Classifications
from billow.services.layout.domain import assemble, split_words


def box(x0: float, y0: float, x1: float, y1: float) -> Quad:
    return (x0, y0, x1, y0, x1, y1, x0, y1)


def line(text: str, y: float = 0.0, x: float = 0.0, confidence: float = 1.0, page: int = 0) -> TextLine:
    """Ten px a character, ten px high."""
    return TextLine(text=text, quad=box(x, y, x + 10.0 * len(text), y + 10.0), confidence=confidence, page=page)


def texts(*lines: str) -> list[str]:
    return [word.text for word in split_words([line(text) for text in lines])]


def labelled(words: tuple[Word, ...], **labels: str) -> Classifications:
    """Labels by the word's text, with score 1; `item_name=...` is `item.name`, a number behind `_g` its group."""
    by_text = {text: label for label, wanted in labels.items() for text in wanted.split("|")}
    names = [by_text.get(word.text, "") for word in words]
    groups = tuple(int(name.rpartition("_g")[2]) if "_g" in name else -1 for name in names)
    plain = tuple(
        name.rpartition("_g")[0].replace("item_", "item.").replace("tax_", "tax.") if "_g" in name else name
        for name in names
    )
    return Classifications(labels=plain, scores=(1.0,) * len(words), groups=groups)


def by_label(group: Group) -> dict[str, str]:
    return {entity.label: entity.text for entity in group.entities}


def test_a_line_at_no_place_is_cut_all_the_same() -> None:
    nowhere = TextLine(text="Pho Ga", quad=(math.inf, 0.0, math.nan, 0.0, 10.0, 10.0, 0.0, 10.0), confidence=1.0)
    assert [word.text for word in split_words([nowhere])] == ["Pho", "Ga"]


def test_a_word_gets_its_share_of_the_line_and_keeps_where_it_came_from() -> None:
    words = split_words([line("a"), line("Pho Ga 8.00", y=20.0, confidence=0.9, page=1)])
    assert [(word.text, word.line, word.page) for word in words[1:]] == [("Pho", 1, 1), ("Ga", 1, 1), ("8.00", 1, 1)]
    assert words[3].quad == pytest.approx(box(70.0, 20.0, 110.0, 30.0))
    assert words[3].confidence == 0.9


def test_quads_are_told_to_a_hundredth_of_a_px() -> None:
    third = TextLine(text="abcdef g", quad=(0.0, 0.0, 100.0 / 3, 1.0, 100.0 / 3, 11.0, 0.0, 10.0))
    assert all(round(value, 2) == value for word in split_words([third]) for value in word.quad)


def test_a_leaning_line_is_cut_along_its_own_direction() -> None:
    leaning = TextLine(text="ab cd", quad=(0.0, 0.0, 50.0, 10.0, 48.0, 20.0, -2.0, 10.0))
    second = split_words([leaning])[1]
    assert second.quad == pytest.approx((30.0, 6.0, 50.0, 10.0, 48.0, 20.0, 28.0, 16.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TOTAL:9.00", ["TOTAL:", "9.00"]),
        ("RM9.00", ["RM", "9.00"]),
        ("$8.20", ["$", "8.20"]),
        ("8,20€", ["8,20", "€"]),
        ("46.86$", ["46.86", "$"]),
        ("$46.86", ["$", "46.86"]),
        ("£4.00", ["£", "4.00"]),
        ("TOTAL$46.86", ["TOTAL", "$", "46.86"]),
        ("BHD.(123456-A)", ["BHD.", "(123456-A)"]),
        ("TEL03-55250588", ["TEL", "03-55250588"]),
        ("Rp.25.000", ["Rp.", "25.000"]),
        ("2.40SR", ["2.40", "SR"]),
        ("DATE:02/01/2018", ["DATE:", "02/01/2018"]),
        ("25.03.201814:22", ["25.03.2018", "14:22"]),
        ("28MAR1814:22", ["28MAR18", "14:22"]),
        ("04:56PM21-05-17", ["04:56PM", "21-05-17"]),
        ("GST@6%", ["GST", "@", "6%"]),
        ("TOTAL12.50", ["TOTAL", "12.50"]),
        ("TAX(RM)", ["TAX", "(RM)"]),
        ("2x13.50", ["2x", "13.50"]),
    ],
)
def test_what_was_printed_too_close_is_parted(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


@pytest.mark.parametrize("text", ["14:49", "http://shop.example:8080", "1,234.50", "02/01/2018", "a@b.com", "No.12"])
def test_what_belongs_together_stays_whole(text: str) -> None:
    assert texts(text) == [text]


def test_blank_lines_give_no_words() -> None:
    assert texts("", "   ") == []


def test_neighbours_with_one_label_become_one_entity_with_one_region() -> None:
    words = split_words([line("Date 05 MAR 2018 late")])
    entities, items, taxes = assemble(words, labelled(words, date="05|MAR|2018"))
    assert [(entity.label, entity.text) for entity in entities] == [("date", "05 MAR 2018")]
    assert [region.quad for region in entities[0].regions] == [pytest.approx(box(50.0, 0.0, 160.0, 10.0))]
    assert (items, taxes) == ((), ())


def test_parts_of_one_print_join_without_a_space() -> None:
    words = split_words([line("SUM RM9.00")])
    entities = assemble(words, labelled(words, total="RM|9.00")).entities
    assert entities[0].text == "RM9.00"


def test_name_and_address_run_over_several_lines() -> None:
    words = split_words([line("Noodle House"), line("Sdn Bhd", y=12.0), line("1 Main Road", y=24.0)])
    wanted = labelled(words, store_name="Noodle|House|Sdn|Bhd", store_address="1|Main|Road")
    entities = assemble(words, wanted).entities
    assert [(entity.label, entity.text) for entity in entities] == [
        ("store_name", "Noodle House Sdn Bhd"),
        ("store_address", "1 Main Road"),
    ]
    assert len(entities[0].regions) == 2


def test_two_amounts_of_one_field_stay_apart() -> None:
    words = split_words([line("TOTAL 9.00"), line("TOTAL 9.05", y=30.0)])
    entities = assemble(words, labelled(words, total="9.00|9.05")).entities
    assert [entity.text for entity in entities] == ["9.00", "9.05"]


def test_an_amount_read_as_two_lines_in_one_row_is_one_entity() -> None:
    words = split_words([line("9"), line(".00", x=14.0)])
    assert [entity.text for entity in assemble(words, labelled(words, total="9|.00")).entities] == ["9 .00"]


def test_an_entity_is_as_sure_as_its_least_sure_word() -> None:
    words = split_words([line("05 MAR", confidence=0.9), line("2018", x=70.0, confidence=0.5)])
    answer = Classifications(labels=("date",) * 3, scores=(0.8, 1.0, 0.9), groups=(-1,) * 3)
    assert assemble(words, answer).entities[0].confidence == pytest.approx(0.45)


def test_punctuation_of_the_layout_is_not_part_of_the_value() -> None:
    words = split_words([line("(incl. 1.42)"), line("due 29.10.2015.", y=20.0)])
    entities = assemble(words, labelled(words, tax="1.42)", due_date="29.10.2015.")).entities
    assert [entity.text for entity in entities] == ["1.42", "29.10.2015"]


def test_words_of_a_group_are_one_item_across_its_lines() -> None:
    words = split_words([line("2 x 3.00"), line("Iced", y=12.0), line("Tea 6.00", y=24.0)])
    wanted = labelled(
        words, item_quantity_g0="2", item_unit_price_g0="3.00", item_name_g0="Iced|Tea", item_amount_g0="6.00"
    )
    entities, items, _ = assemble(words, wanted)
    assert entities == ()
    assert [by_label(item) for item in items] == [
        {"item.quantity": "2", "item.unit_price": "3.00", "item.name": "Iced Tea", "item.amount": "6.00"}
    ]


def test_the_only_row_of_the_tax_table_is_the_tax() -> None:
    words = split_words([line("SR 6% 37.50 2.25")])
    entities, items, taxes = assemble(words, labelled(words, tax_rate_g4="6%", tax_amount_g4="2.25"))
    assert [by_label(tax) for tax in taxes] == [{"tax.rate": "6%", "tax.amount": "2.25"}]
    assert [(entity.label, entity.text) for entity in entities] == [("tax", "2.25")]
    assert items == ()


def test_an_answer_for_other_words_is_refused() -> None:
    words = split_words([line("a b")])
    with pytest.raises(PermanentError, match="2 words") as caught:
        assemble(words, Classifications(labels=("",), scores=(1.0,), groups=(-1,)))
    assert caught.value.code == "invalid_output"
    with pytest.raises(PermanentError, match="colour"):
        assemble(words, Classifications(labels=("", "colour"), scores=(1.0, 1.0), groups=(-1, -1)))


def test_nothing_gives_nothing() -> None:
    assert assemble((), Classifications(labels=(), scores=(), groups=())) == ((), (), ())
