"""For a frontend's backend: submit a document, await its record.

async with Billow("nats://127.0.0.1:4222") as billow:
    record = await billow.extract(photo_bytes, source="lunch.jpg")
    print(record.fields["total"].value)

`billow.client.sync` has the same without asyncio.
"""

from billow.bus.faults import BusyError
from billow.client.batch import BatchProgress, BatchResult
from billow.client.billow import Billow
from billow.client.events import EventKind, Subscription
from billow.client.settings import ClientSettings
from billow.client.sources import Document
from billow.client.submission import document_id_of

__all__ = [
    "BatchProgress",
    "BatchResult",
    "Billow",
    "BusyError",
    "ClientSettings",
    "Document",
    "EventKind",
    "Subscription",
    "document_id_of",
]
