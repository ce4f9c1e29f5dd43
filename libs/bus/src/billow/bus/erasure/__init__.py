"""Erasing what is kept about documents, everywhere on the bus.

The event `erased` is stated first and is what counts: anybody may publish it, and the receipt service does the rest, as
often as it takes. It stays in `DOCUMENTS`, as the proof and so that nothing that comes late brings a document back.
A submission that the stream stored after it is a new document, also under an old id.
"""

from billow.bus.erasure.erasing import document_erasure, erase, preview, state_erasure, tenant_erasure
from billow.bus.erasure.reach import Reach, is_new, stored_at, submitted_at
from billow.bus.erasure.report import (
    ErasureReport,
    Removed,
    find_report,
    keep_report,
    new_report,
    wait_for_report,
)

__all__ = [
    "ErasureReport",
    "Reach",
    "Removed",
    "document_erasure",
    "erase",
    "find_report",
    "is_new",
    "keep_report",
    "new_report",
    "preview",
    "state_erasure",
    "stored_at",
    "submitted_at",
    "tenant_erasure",
    "wait_for_report",
]
