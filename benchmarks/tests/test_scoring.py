import pytest

from benchmarks.scoring import Overlap, overlap, score_field, similarity, word_bag


def test_words_are_lower_case_and_split_by_everything_else() -> None:
    assert word_bag(["Total: RM9.00", "TOTAL"]) == {"total": 2, "rm9": 1, "00": 1}
    assert word_bag(["***", ""]) == {}


def test_overlap_counts_a_word_as_often_as_the_poorer_side_has_it() -> None:
    result = overlap(word_bag(["a a b"]), word_bag(["a b b c"]))
    assert result == Overlap(common=2, read=3, true=4)
    assert result.f1 == pytest.approx(4 / 7)


def test_documents_are_averaged_by_their_words_not_one_by_one() -> None:
    long = overlap(word_bag(["x"] * 98), word_bag(["x"] * 98))
    short = overlap(word_bag(["y"]), word_bag(["z"]))
    assert (long + short).f1 == pytest.approx(98 / 99)


def test_nothing_to_read_and_nothing_read_is_perfect() -> None:
    assert Overlap().f1 == 1
    assert overlap(word_bag(["noise"]), word_bag([])).f1 == 0


@pytest.mark.parametrize(
    ("field", "accepted", "read", "score"),
    [
        ("total", ["9.0"], "9.00", 1),
        ("total", ["9.00"], "90.0", 0),
        ("total", ["9.00"], "nine", 0),
        ("total", ["9.00", "12.50"], "12.5", 1),
        ("total", ["9.00"], None, 0),
        ("date", ["2018-12-25"], "2018-12-25", 1),
        ("date", ["2016-05-11", "2016-11-05"], "2016-11-05", 1),
        ("date", ["2018-12-25"], "2018-12-26", 0),
        ("time", ["20:13:39"], "20:13", 1),
        ("phone", ["07-352 3888"], "+6073523888", 1),
        ("phone", ["07-352 3888"], "07-352 3889", 0),
        ("store_name", ["BLUE HERON COFFEE"], "Blue Heron Coffee", 1),
        ("currency", ["MYR"], "USD", 0),
    ],
)
def test_score_of_a_field(field: str, accepted: list[str], read: str | None, score: float) -> None:
    assert score_field(field, accepted, read) == score


def test_names_get_the_share_of_words_that_agree() -> None:
    assert similarity("MR D.I.Y. (M) SDN BHD", "MR DIY SDN BHD") == pytest.approx(2 * 3 / (7 + 4))
    assert 0 < score_field("store_address", ["NO 12 JALAN DEDAP"], "NO 12") < 1
