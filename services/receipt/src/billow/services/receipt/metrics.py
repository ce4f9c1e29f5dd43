"""What Prometheus may know of documents that ended, since the start of this process."""

from billow.runtime.metrics import Counter, Histogram
from billow.schemas.record import Record

_SECONDS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0, 300.0, 3600.0)

DOCUMENTS = Counter("billow_documents", "Documents by how they ended; without replays.", ["status"])
DOCUMENT_SECONDS = Histogram(
    "billow_document_duration_seconds", "From submission until the record of a completed document.", buckets=_SECONDS
)


def observe_record(record: Record) -> None:
    """Count one that was stated. A no-op for replays. A redelivery is counted again."""
    if record.run_id is not None:
        return
    DOCUMENTS.labels(record.status).inc()
    if record.status == "completed" and (total := record.timings_ms.get("total")) is not None:
        DOCUMENT_SECONDS.observe(total / 1000)
