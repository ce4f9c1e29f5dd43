"""Which crops travel together, and what the answers add up to."""

from hypothesis import given
from hypothesis import strategies as st

from billow.schemas.inference import MAX_CROP_BYTES, MAX_CROPS
from billow.services.ocr.domain import chunks, lines_of_page

QUADS = [(0.0, 0.0, float(n), 0.0, float(n), 9.0, 0.0, 9.0) for n in range(5)]


@given(st.lists(st.tuples(st.integers(0, MAX_CROP_BYTES * 2), st.integers(1, 2000)), max_size=200))
def test_every_crop_travels_once_within_the_limits_sorted_by_width(crops: list[tuple[int, int]]) -> None:
    data = [bytes(size) for size, _ in crops]
    widths = [width for _, width in crops]
    parts = chunks(data, widths)
    flat = [index for part in parts for index in part]
    assert sorted(flat) == list(range(len(crops)))
    assert [widths[index] for index in flat] == sorted(widths)
    for part in parts:
        assert 1 <= len(part) <= MAX_CROPS
        assert len(part) == 1 or sum(len(data[index]) for index in part) <= MAX_CROP_BYTES


def test_lines_come_in_reading_order_without_noise() -> None:
    read = [(3, " Total ", 0.9), (0, "Shop", 0.8), (1, "  ", 0.99), (2, "#%", 0.2)]
    lines = lines_of_page(1, QUADS, read, min_confidence=0.5)
    assert [(line.text, line.quad, line.page) for line in lines] == [("Shop", QUADS[0], 1), ("Total", QUADS[3], 1)]
