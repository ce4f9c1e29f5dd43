"""Tables in terminals that are too narrow for all of them: what a person copies from them stays whole."""

from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from billow.bus.deadletter_shelf import Letter
from billow.bus.replay.book import Run
from billow.cli.columns import fitting
from billow.cli.commands import deadletters_view, replay_view
from billow.cli.commands.journeys import Journey
from billow.cli.commands.journeys import table as journeys_table
from billow.schemas.replay import PromotionState, ReplaySpec, ReplayState

DOCUMENT = "cbfdc15cb05b2695ce8feb8d"
NOW = datetime.now(UTC)


def printed(table: object, width: int) -> list[str]:
    """The lines as a terminal of that width shows them."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_words_beside_ids_give_way() -> None:
    columns = {"id": ["x" * 10], "extra": ["y" * 10], "words": ["z" * 100]}
    assert fitting(columns, width=60, elastic="words", least=20, droppable=("extra",)) == {
        "id": 10,
        "extra": 10,
        "words": 34,
    }
    assert fitting(columns, width=40, elastic="words", least=20, droppable=("extra",)) == {"id": 10, "words": 27}


def test_an_elastic_column_is_never_narrower_than_its_heading() -> None:
    columns = {"id": ["x" * 70], "words": ["z" * 100]}
    assert fitting(columns, width=60, elastic="words", least=20, droppable=()) == {"id": 70, "words": 5}


@pytest.mark.parametrize("width", [80, 120, 200])
def test_dead_letters_can_be_named_from_the_list(width: int) -> None:
    letter = Letter(
        sequence=1234,
        buried_at=datetime.now(UTC) - timedelta(minutes=17, seconds=20),
        code="unsupported_media_type",
        message="This is neither a picture nor a PDF, whatever its name says. " * 3,
        retryable=False,
        service="ocr",
        event="submitted",
        tenant="default",
        document_id=DOCUMENT,
        run_id=None,
        deliveries=1,
        subject=f"documents.default.submitted.{DOCUMENT}",
        stream="DOCUMENTS",
        stream_sequence=1,
        size=450,
        cut_from=None,
    )
    lines = printed(deadletters_view.table([letter], width=width), width)
    assert len(lines) == 3
    assert all(word in lines[2] for word in ("1234", "17m", "unsupported_media_type", DOCUMENT, "This is"))
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_documents_can_be_named_from_what_is_watched(width: int) -> None:
    times = {"submitted": NOW - timedelta(seconds=9), "recognized": NOW - timedelta(seconds=2)}
    moving = Journey(document_id=DOCUMENT, source="scans/of/a/very/long/folder/name/invoice-2025.pdf", times=times)
    failed = Journey(document_id="b" * 24, status="failed", why="unsupported_media_type", source="x.jpg")
    lines = printed(journeys_table([moving, failed], tenant="default", width=width), width)
    assert DOCUMENT in lines[2] and "invoice-2025.pdf" in lines[2] and "in layout" in lines[2]
    assert "b" * 24 in lines[3] and "failed unsupported_media_type" in lines[3]
    assert max(map(len, lines)) <= width


def test_a_run_can_be_named_whatever_it_is_called() -> None:
    name = "new-layout-model-2026-11-22-second-attempt"
    spec = ReplaySpec(run_id=name, start="recognized", until=NOW, created_at=NOW, created_by="somebody@somewhere")
    state = ReplayState(status="finished", updated_at=NOW, planned=12_000, sent=12_000, completed=11_990, failed=10)
    lines = printed(replay_view.runs([Run(spec=spec, state=state, version=1)], width=80), 80)
    assert name in lines[2]
    assert max(map(len, lines)) <= 80


def test_runs_fit_into_80_columns() -> None:
    spec = ReplaySpec(run_id="20261122-080012-ab12", start="recognized", until=NOW, created_at=NOW, created_by="ada@vm")
    state = ReplayState(status="finished", updated_at=NOW, planned=12_000, sent=12_000, completed=11_990, failed=10)
    lines = printed(replay_view.runs([Run(spec=spec, state=state, version=1)], width=80), 80)
    assert len(lines) == 3
    assert all(word in lines[2] for word in ("20261122-080012-ab12", "finished", "12000", "11990", "10"))
    assert max(map(len, lines)) <= 80


def test_official_results_are_not_said_to_be_untouched() -> None:
    assert "as they were" in replay_view.standing("r1", None)
    official = PromotionState(generation=1, undone=False, updated_at=NOW)
    assert "--undo" in replay_view.standing("r1", official) and "as they were" not in replay_view.standing(
        "r1", official
    )
    undone = PromotionState(generation=1, undone=True, updated_at=NOW)
    assert "as they were" in replay_view.standing("r1", undone)
