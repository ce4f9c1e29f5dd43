"""Results beside results, and beside the truth."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from billow.bus.replay.comparison import EXAMPLES, Comparison
from billow.bus.replay.results import Line, Result, Value
from billow.bus.replay.truth import TruthFolder, is_right
from billow.runtime.errors import UsageError
from billow.schemas.record import Tax
from billow.schemas.replay import Accuracy, Changes, Example, TaskTime


def result(fields: Mapping[str, str] | None = None, document_id: str = "doc-1", **changes: Any) -> Result:
    values = {name: Value(value=value) for name, value in (fields or {}).items()}
    return Result(source="a.jpg", tenant="acme", document_id=document_id, status="completed", fields=values, **changes)


def numbers(changes: Changes) -> tuple[int, int, int, int]:
    return changes.appeared, changes.vanished, changes.changed, changes.same


def test_each_field_appears_vanishes_changes_or_stays() -> None:
    comparison = Comparison()
    before = result({"total": "1.00", "tax": "0.10", "date": "2026-01-01"})
    comparison.add(before, result({"total": "1.00", "tax": "0.20", "time": "10:00"}))
    changes = comparison.changes()
    assert {name: numbers(found) for name, found in changes.items() if any(numbers(found))} == {
        "date": (0, 1, 0, 0),
        "time": (1, 0, 0, 0),
        "tax": (0, 0, 1, 0),
        "total": (0, 0, 0, 1),
        "status": (0, 0, 0, 1),
    }
    example = Example(tenant="acme", document_id="doc-1", before="0.10", after="0.20")
    assert changes["tax"].examples == {"changed": (example,)}
    assert changes["total"].examples == {}


def test_lines_taxes_status_and_straight_through_are_compared_too() -> None:
    comparison = Comparison()
    before = result(items=(Line(name="Tea", amount="2.00"),), straight_through=True)
    after = result(items=(Line(name="Tea", amount="3.00"),), taxes=(Tax(rate="0.1"),))
    comparison.add(before, after)
    comparison.add(None, result(document_id="new"))
    changes = comparison.changes()
    assert numbers(changes["items"]) == (0, 0, 1, 0)
    assert '"amount":"2.00"' in changes["items"].examples["changed"][0].before
    assert numbers(changes["taxes"]) == (1, 0, 0, 0)
    assert numbers(changes["straight_through"]) == (0, 1, 0, 0)
    assert numbers(changes["status"]) == (1, 0, 0, 1)
    assert (comparison.documents, comparison.new) == (2, 1)


def test_examples_are_few_and_short() -> None:
    comparison = Comparison()
    for number in range(50):
        comparison.add(result({"total": "1"}), result({"total": "x" * 10_000}, document_id=f"doc-{number}"))
    changes = comparison.changes()["total"]
    assert changes.changed == 50
    examples = changes.examples["changed"]
    assert len(examples) == EXAMPLES and all(len(example.after) < 200 for example in examples)


def test_accuracy_counts_documents_with_truth_before_and_after() -> None:
    comparison = Comparison()
    truth = {"total": ("9.00",), "date": ("2018-12-25",)}
    comparison.add(result({"total": "9", "date": "2018-12-24"}), result({"total": "9.00", "date": "2018-12-25"}), truth)
    comparison.add(result({"total": "9.00"}), result(), {"total": ("9.00",)})
    comparison.add(result({"total": "5.00"}), result({"total": "5.00"}))
    assert comparison.accuracy() == {
        "date": Accuracy(known=1, before=0, after=1),
        "total": Accuracy(known=2, before=2, after=1),
    }


def test_model_time_is_of_documents_that_have_it_on_both_sides() -> None:
    comparison = Comparison()
    label = "token-classification"
    comparison.add(result(timings_ms={label: 4.0}), result(timings_ms={label: 2.0, "text-detection": 90.0}))
    comparison.add(None, result(timings_ms={label: 3.0}))
    assert comparison.task_time() == {label: TaskTime(documents=1, before_s=0.004, after_s=0.002)}
    assert comparison.model_s((label,)) == pytest.approx(0.005)
    assert comparison.model_s(("text-detection", label)) == pytest.approx(0.095)


@pytest.mark.parametrize(
    ("field", "value", "truth", "right"),
    [
        ("total", "9.00", "9", True),
        ("total", "1234.50", "RM 1,234.50", True),
        ("total", "15.20", "15,20 EUR", True),
        ("total", "9.00", "9.01", False),
        ("total", "9.00", "unknown", False),
        ("date", "2018-12-25", "25/12/2018", True),
        ("date", "2018-12-25", "2018-12-25", True),
        ("date", "2018-04-05", "05-04-18", True),
        ("date", "2018-12-25", "soon", False),
        ("store_name", "Lucky  Noodle", "LUCKY NOODLE", True),
        ("store_name", "Lucky", "Lucky Noodle", False),
        ("store_name", None, "Lucky", False),
    ],
)
def test_what_counts_as_right(field: str, value: str | None, truth: str, right: bool) -> None:
    assert is_right(field, value, (truth,)) is right


def test_any_accepted_value_is_right() -> None:
    assert is_right("total", "2.00", ("1.00", "2.00"))
    assert not is_right("total", "2.00", ())


async def test_truth_is_found_by_document_source_or_in_a_list(tmp_path: Path) -> None:
    (tmp_path / "doc-1.json").write_text(json.dumps({"total": 9.5, "nonsense": "x", "date": ["2018-01-02", ""]}))
    (tmp_path / "lunch.json").write_text(json.dumps({"fields": {"company": "Lucky", "tip": ""}, "lines": []}))
    (tmp_path / "truth.jsonl").write_text(json.dumps({"id": "7", "image": "img/x.jpg", "fields": {"tax": "1"}}) + "\n")
    truth = TruthFolder(tmp_path)
    assert await truth.of("t", "doc-1", "lunch.jpg") == {"total": ("9.5",), "date": ("2018-01-02",)}
    assert await truth.of("t", "other", "scans/lunch.jpg") == {"store_name": ("Lucky",)}
    assert await truth.of("t", "7", "") == await truth.of("t", "other", "x.png") == {"tax": ("1",)}
    assert await truth.of("t", "nobody", "knows.jpg") is None


async def test_a_label_that_is_none_is_told_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "doc-1.json").write_text("{")
    with pytest.raises(UsageError, match=r"doc-1\.json"):
        await TruthFolder(tmp_path).of("t", "doc-1", "")
    with pytest.raises(UsageError, match="no folder"):
        TruthFolder(tmp_path / "nowhere")
