import json
from pathlib import Path

import pytest

from benchmarks.arguments import SAMPLES
from benchmarks.datasets import DatasetError, load


def write(folder: Path, rows: list[dict[str, object]]) -> None:
    for row in rows:
        (folder / str(row["image"])).write_bytes(b"")
    (folder / "annotations.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def test_sroie_names_and_values_become_those_of_a_record(tmp_path: Path) -> None:
    fields = {"company": "ABC HO", "date": "09/01/2019", "address": "NO.2 & 4", "total": "RM31.00"}
    weak = {"total": 99.0, "tax": 0.0, "tip": 1.5, "currency": "MYR", "items": [{"name": "x"}], "phone": ""}
    line = {"quad": [0] * 8, "text": "ABC HO"}
    write(tmp_path, [{"id": "7", "image": "7.jpg", "fields": fields, "weak_fields": weak, "lines": [line]}])
    (document,) = load(tmp_path, "sroie")
    assert document.lines == ("ABC HO",)
    assert {name: set(values) for name, values in document.accepted.items()} == {
        "store_name": {"ABC HO"},
        "date": {"2019-01-09"},
        "store_address": {"NO.2 & 4"},
        "total": {"31.00"},
        "tip": {"1.5"},
        "currency": {"MYR"},
    }


def test_an_empty_truth_is_no_truth(tmp_path: Path) -> None:
    write(tmp_path, [{"id": "1", "image": "1.jpg", "fields": {"date": "10 MAR 2018", "total": ""}}])
    (document,) = load(tmp_path, "sroie")
    assert set(document.accepted) == {"date"}
    assert document.lines is None


def test_wildreceipt_accepts_every_box_with_the_label(tmp_path: Path) -> None:
    boxes = [
        {"text": "$20.00", "label": "Total_value"},
        {"text": "TotalDue", "label": "Total_value"},
        {"text": "23.00", "label": "Total_value"},
        {"text": "03/10/2014", "label": "Date_value"},
        {"text": "Coke", "label": "Prod_item_value"},
    ]
    write(tmp_path, [{"id": "a", "image": "a.jpg", "annotations": boxes}])
    (document,) = load(tmp_path, "wildreceipt")
    assert document.lines is None
    assert document.accepted == {
        "total": frozenset(("20.00", "23.00")),
        "date": frozenset(("2014-03-10", "2014-10-03")),
    }


def test_german_files_carry_their_truth_in_the_name(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("lidl_02032020_02_00716_B.jpg", "mediamarkt_14052020_03900.jpg", "notes.txt"):
        (tmp_path / "images" / name).write_bytes(b"")
    first, second = load(tmp_path, "german")
    assert first.accepted == {"date": frozenset(["2020-03-02"]), "total": frozenset(["7.16"])}
    assert second.accepted["total"] == {"39.00"}


def test_limit_takes_the_first_ones(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"id": str(n), "image": f"{n}.jpg", "fields": {}} for n in (3, 1, 2)]
    write(tmp_path, rows)
    assert [document.id for document in load(tmp_path, "sroie", 2)] == ["3", "1"]


def test_the_samples_of_the_project_can_be_measured() -> None:
    documents = load(SAMPLES, "sroie")
    assert len(documents) == 3
    assert all({"date", "total", "store_name"} <= set(document.accepted) for document in documents)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="neither annotations"):
        load(tmp_path, "sroie")


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    write(tmp_path, [{"id": "1", "image": "1.jpg", "fields": {}}])
    (tmp_path / "1.jpg").unlink()
    with pytest.raises(DatasetError, match=r"1\.jpg"):
        load(tmp_path, "sroie")
