"""How much of a document crosses the link to the workers, as a metric; its record says it in `link_bytes`."""

from collections.abc import Mapping
from functools import cache

from billow.runtime.metrics import Histogram

_BYTES = (1e3, 1e4, 3e4, 1e5, 2e5, 3e5, 5e5, 1e6, 2e6, 4e6, 1e7)

DOCUMENT_LINK_BYTES = Histogram(
    "billow_document_link_bytes",
    "Bytes of one document sent to the workers of a task, shadows not counted; `original` is the document itself.",
    ["task"],
    buckets=_BYTES,
)


def observe_link_bytes(sent: Mapping[str, int]) -> None:
    """Count one document."""
    for task, size in sent.items():
        _of(task).observe(size)


@cache
def _of(task: str) -> Histogram:
    # Looking it up costs more than counting; there are as many as tasks.
    return DOCUMENT_LINK_BYTES.labels(task)
