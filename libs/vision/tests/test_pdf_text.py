"""Glyphs become segments, words keep their spaces, and only text that can be believed is believed."""

import pytest

from billow.vision.pdf_text import GAP, UNREADABLE, Glyph, TrustParameters, build_lines, is_trustworthy

SIZE = 20.0
ENGLISH = "the quick brown fox jumps over the lazy dog and then he sleeps for an hour or two "


def line(text: str, x: float = 100.0, y: float = 100.0, turns: int = 0) -> list[Glyph]:
    """Glyphs half as wide as their font size, set in px on a page of 1000 x 1000."""
    glyphs: list[Glyph] = []
    for index, letter in enumerate(text):
        left = x + index * SIZE / 2
        box = (left, y, left + SIZE / 2, y + SIZE)
        if letter.isspace():
            box = (0.0, 0.0, 0.0, 0.0)
        elif turns == 1:
            box = (1000 - box[3], box[0], 1000 - box[1], box[2])
        glyphs.append(Glyph(text=letter, box=box, size=SIZE, turns=turns))
    return glyphs


def texts(glyphs: list[Glyph]) -> list[str]:
    return [found.text for found in build_lines(glyphs, 0, 1000, 1000)]


def test_a_space_stays_and_a_column_parts() -> None:
    columns = [*line("Blue folder"), *line(GAP), *line("14.50", x=600)]
    assert texts(columns) == ["Blue folder", "14.50"]
    first, second = build_lines(columns, 3, 1000, 1000)
    assert first.quad == (100, 100, 210, 100, 210, 120, 100, 120)
    assert first.page == second.page == 3


def test_a_gap_without_a_space_still_parts_words() -> None:
    assert texts([*line("Grand"), *line("total", x=158)]) == ["Grand total"]


def test_pieces_that_touch_are_one_word() -> None:
    assert texts([*line("INV"), *line("-2024", x=130.5)]) == ["INV-2024"]


def test_spaces_in_the_file_hold_a_wider_line_together_than_a_bare_gap() -> None:
    assert texts([*line("Tax"), *line(" "), *line("19 %", x=150)]) == ["Tax 19 %"]
    assert texts([*line("Tax"), *line(GAP), *line("19 %", x=150)]) == ["Tax", "19 %"]


def test_lines_come_in_reading_order_whatever_the_order_of_the_file() -> None:
    scattered = [*line("three", y=200), *line("two", x=500), *line("one")]
    assert texts(scattered) == ["one", "two", "three"]


def test_a_line_down_the_margin_has_its_first_corner_at_its_own_top_left() -> None:
    (margin,) = build_lines(line("margin note", turns=1), 0, 1000, 1000)
    assert margin.text == "margin note"
    assert margin.quad == (900, 100, 900, 210, 880, 210, 880, 100)


def test_unreadable_glyphs_never_reach_the_text() -> None:
    glyphs = [*line("ok"), *line(UNREADABLE, x=120), *line("\ud83d", x=130), *line("\x01", x=140)]
    assert texts(glyphs) == ["ok"]


def test_quads_stay_on_the_page() -> None:
    (cut,) = build_lines(line("half of it is over the edge", x=900), 0, 1000, 1000)
    assert max(cut.quad) == 1000


def trusted(text: str, pictures: float = 0.0, y: float = 100.0) -> bool:
    glyphs = [glyph for i in range(0, len(text), 80) for glyph in line(text[i : i + 80], y=y + i / 80 * 25)]
    return is_trustworthy(glyphs, 1000.0, pictures, TrustParameters())


def test_plain_text_is_believed() -> None:
    assert trusted(ENGLISH)
    assert trusted("Rechnung über 14 Übernachtungen, fällig spätestens am 5. März, bitte überweisen")
    assert trusted("Hóa đơn giá trị gia tăng, cộng tiền hàng, thuế suất, tổng cộng tiền thanh toán")
    assert trusted("合計金額 税込 一万二千円 領収書 東京都千代田区丸の内一丁目 電話番号 店舗名")


@pytest.mark.parametrize(
    "text",
    [
        "Page 1 of 1",
        UNREADABLE * 5 + ENGLISH,
        "\ue000\ue001\ue002\ue003" + ENGLISH,
        "(cid:12)(cid:34)(cid:56)(cid:78)(cid:90)",
        "".join(chr(ord(letter) + 1) if letter != " " else " " for letter in ENGLISH),
        ".........." * 10 + "ends",
    ],
    ids=["too little", "unmapped", "private use", "cid", "shifted", "dots"],
)
def test_garbage_is_not_believed(text: str) -> None:
    assert not trusted(text)


def test_under_a_scan_the_text_must_fill_the_page() -> None:
    assert trusted(ENGLISH, pictures=0.3)
    assert not trusted(ENGLISH, pictures=0.9)
    assert not trusted(ENGLISH * 5, pictures=0.9)
    assert trusted(ENGLISH * 16, pictures=0.9)
