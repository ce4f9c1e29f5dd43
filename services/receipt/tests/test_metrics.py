"""What an operator sees of documents that ended."""

import msgspec
import pytest
from prometheus_client import REGISTRY

from billow.services.receipt.metrics import observe_record
from billow.testkit.events import make_record


def _value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_documents_are_counted_by_how_they_ended(status: str) -> None:
    before = _value("billow_documents_total", status=status)
    observe_record(msgspec.structs.replace(make_record(), status=status))
    assert _value("billow_documents_total", status=status) == before + 1


def test_the_time_of_completed_documents_is_known_and_replays_do_not_count() -> None:
    record = msgspec.structs.replace(make_record(), status="completed", timings_ms={"total": 1500.0})
    count, total = _value("billow_document_duration_seconds_count"), _value("billow_document_duration_seconds_sum")
    observe_record(record)
    observe_record(msgspec.structs.replace(record, run_id="run-1"))
    assert _value("billow_document_duration_seconds_count") == count + 1
    assert _value("billow_document_duration_seconds_sum") == pytest.approx(total + 1.5)
