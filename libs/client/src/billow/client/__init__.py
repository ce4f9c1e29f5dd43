"""For a frontend's backend: submit a document, await its record.

async with Billow("nats://127.0.0.1:4222") as billow:
    record = await billow.extract(photo_bytes, source="lunch.jpg")
    print(record.fields["total"].value)
"""

from billow.client.billow import Billow
from billow.client.settings import ClientSettings

__all__ = ["Billow", "ClientSettings"]
