"""A record as people read it."""

import io

from rich.console import Console

from billow.cli import render
from billow.schemas.record import Check, Failure, Record
from billow.testkit.events import make_record


def text_of(record: Record, **options: float) -> str:
    console = Console(file=io.StringIO(), width=110, color_system=None)
    console.print(render.panel(record, **options))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_fields_items_checks_and_times_are_there() -> None:
    text = text_of(make_record(), wall_ms=412)
    for part in ("store_name", "Lucky Noodle House", "13.14", "Beef Noodles", "8.00", "9.5 %", "412", "completed"):
        assert part in text


def test_a_failure_says_why() -> None:
    error = Failure(code="empty_file", message="The file is empty. Send it again.", stage="ocr")
    text = text_of(make_record(status="failed", error=error, fields={}, items=(), taxes=(), checks=()))
    assert "empty_file" in text
    assert "Send it again" in text


def test_a_check_that_does_not_apply_is_not_shown_and_a_failed_one_is() -> None:
    checks = (
        Check(name="items_sum_to_subtotal", passed=None),
        Check(name="paid_minus_change_is_total", passed=False, detail="10.00 - 1.00, printed is 8.00"),
    )
    text = text_of(make_record(checks=checks))
    assert "items sum to subtotal" not in text
    assert "✗ paid minus change is total" in text
    assert "printed is 8.00" in text


def test_brackets_in_a_name_are_shown_as_they_are() -> None:
    assert "[red]x" in text_of(make_record(source="[red]x.jpg"))


def test_nothing_found_is_said() -> None:
    blank = make_record(fields={}, items=(), taxes=(), checks=(), timings_ms={})
    assert "nothing found" in text_of(blank)
