# pyright: reportUnknownMemberType=false
"""The same without Billow's client, by nats-py alone: python stock_nats.py FILE

The original goes into the tenant's object store, `submitted` onto the stream, and the record comes as `completed` or
`failed`.
"""

import asyncio
import hashlib
import json
import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError
from nats.js.object_store import ObjectStore

STREAM = "DOCUMENTS"
TENANT = os.environ.get("BILLOW_TENANT", "default")
DAYS = 24 * 60 * 60


async def originals(js: JetStreamContext) -> ObjectStore:
    """The tenant's bucket, made where there is none."""
    bucket = f"IMAGES_{TENANT}"
    try:
        return await js.object_store(bucket)
    except NotFoundError:
        return await js.create_object_store(bucket, config=api.ObjectStoreConfig(bucket=bucket, ttl=91 * DAYS))


async def submit(js: JetStreamContext, document_id: str, data: bytes, source: str) -> None:
    """Safe to do again with the same id: the server drops what is said twice."""
    key = f"{document_id}/original"
    await (await originals(js)).put(key, data)
    event = {
        "type": "document.submitted.v1",
        "tenant": TENANT,
        "document_id": document_id,
        "event_id": f"{document_id}.1.submitted",
        "occurred_at": datetime.now(UTC).isoformat(),
        "image": {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)},
        "source": source,
    }
    headers = {"Nats-Msg-Id": f"{TENANT}.{event['event_id']}", "Content-Type": "application/json"}
    subject = f"documents.{TENANT}.submitted.{document_id}"
    await js.publish(subject, json.dumps(event).encode(), stream=STREAM, headers=headers)


async def record_of(js: JetStreamContext, document_id: str) -> dict[str, Any]:
    """Wait for the event that ends the document; one that came before is found too."""
    config = api.ConsumerConfig(
        filter_subjects=[f"documents.{TENANT}.{event}.{document_id}" for event in ("completed", "failed")],
        ack_policy=api.AckPolicy.EXPLICIT,
        inactive_threshold=300,
    )
    subscription = await js.pull_subscribe("", stream=STREAM, config=config)
    while True:
        try:
            (message,) = await subscription.fetch(1, timeout=30)
        except TimeoutError:
            continue
        await message.ack()
        await subscription.unsubscribe()
        return json.loads(message.data)["record"]


async def main(path: str) -> int:
    url = os.environ.get("BILLOW_NATS_URL", "nats://127.0.0.1:4222")
    data = await asyncio.to_thread(Path(path).read_bytes)
    async with await nats.connect(url) as client:
        js = client.jetstream()
        document_id = uuid.uuid4().hex
        await submit(js, document_id, data, path)
        record = await record_of(js, document_id)
    print(json.dumps(record))
    return 0 if record["status"] == "completed" else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])) if len(sys.argv) == 2 else __doc__)
