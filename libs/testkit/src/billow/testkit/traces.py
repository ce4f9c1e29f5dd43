# pyright: reportUnknownMemberType=false
"""A document that leaves a mark in every place there is, and where the mark is found."""

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from billow.bus.buckets import open_bucket, put
from billow.bus.connection import Bus
from billow.bus.erasure.messages import walk
from billow.bus.images import ImageStore
from billow.bus.publish import publish, publish_event
from billow.bus.topology import DEADLETTERS, INFERENCE, REPLAYS, REPLAYS_BUCKET, RESULTS, SHADOWS
from billow.schemas import codec, subjects
from billow.schemas.events import ImageRef
from billow.schemas.inference import ClassifyTokens, InferenceResult, InferenceWork
from billow.schemas.labels import Task
from billow.schemas.record import Failure
from billow.schemas.routing import Comparison
from billow.testkit.events import (
    make_analyzed,
    make_cancelled,
    make_promoted,
    make_recognized,
    make_record,
    make_submitted,
)

TENANT = "default"
TASK: Task = "token-classification"


async def say(bus: Bus, stream: str, subject: str, data: bytes, **fields: str) -> None:
    """Publish anything anywhere; `fields` are headers, with `_` for `-`."""
    extra = {key.replace("_", "-"): value for key, value in fields.items()}
    await publish(bus, subject, data, message_id=None, stream=stream, extra=extra)


async def hand_in(bus: Bus, document_id: str, mark: str, *, tenant: str = TENANT) -> None:
    """A document that left a trace in every place there is, each with the mark in it."""
    images = ImageStore(bus.client)
    await images.put(tenant, f"{document_id}/original", mark.encode() * 50_000)
    await images.put(tenant, f"own-name-{document_id}", mark.encode() * 100)
    await publish_event(bus, make_submitted(document_id, tenant=tenant, source=mark))
    second = make_submitted(document_id, tenant=tenant, revision=2, source=mark)
    await publish_event(bus, msgspec.structs.replace(second, image=ImageRef(key=f"own-name-{document_id}")))
    recognized = make_recognized(document_id, tenant=tenant)
    lines = tuple(msgspec.structs.replace(line, text=mark) for line in recognized.lines)
    await publish_event(bus, msgspec.structs.replace(recognized, lines=lines))
    analyzed = make_analyzed(document_id, tenant=tenant)
    entities = (msgspec.structs.replace(analyzed.entities[0], text=mark), *analyzed.entities[1:])
    await publish_event(bus, msgspec.structs.replace(analyzed, entities=entities))
    run = {"run_id": "run-1", "event_id": f"run-1.{document_id}.a"}
    await publish_event(bus, msgspec.structs.replace(analyzed, entities=entities, **run))
    await publish_event(bus, make_cancelled(document_id, tenant=tenant, revision=2, reason=mark))
    record = make_record(document_id, tenant=tenant, revision=3, source=mark)
    promoted = make_promoted(document_id, record=record, tenant=tenant, revision=3)
    await publish_event(bus, promoted)
    await leave_traces(bus, document_id, mark, tenant)


async def leave_traces(bus: Bus, document_id: str, mark: str, tenant: str) -> None:
    """What workers, routes and operators leave behind."""
    payload = ClassifyTokens(pages=(), words=(), language=mark)
    work = InferenceWork(
        request_id=f"r-{document_id}",
        tenant=tenant,
        document_id=document_id,
        model="m_1-0-0",
        lane="bulk",
        payload=payload,
        sent_at=datetime.now(UTC),
        revision=1,
    )
    packed = codec.encode(work, codec.MSGPACK)
    queue = subjects.inference(TASK, "m_1-0-0", "bulk", tenant)
    await say(bus, INFERENCE.name, queue, packed)
    result = InferenceResult(request_id="r", model="m_1-0-0", error=Failure(code="x", message=mark))
    answer = codec.encode(result, codec.MSGPACK)
    await say(bus, RESULTS.name, subjects.result(tenant, TASK, f"r-{document_id}"), answer)
    compared = Comparison(
        tenant=tenant,
        document_id=document_id,
        revision=1,
        task=TASK,
        model="m_1-0-0",
        shadow="s_1-0-0",
        occurred_at=datetime.now(UTC),
        error=Failure(code="x", message=mark),
    )
    await say(bus, SHADOWS.name, subjects.shadow(tenant, TASK, "s_1-0-0"), codec.encode(compared))
    dead = f"documents.{tenant}.submitted.{document_id}"
    broken = f"not json {mark}".encode()
    await say(bus, DEADLETTERS.name, f"deadletters.{tenant}.worker.{TASK}", packed, **{"Billow_Dead_Subject": queue})
    cut = packed[: packed.index(mark.encode()) + len(mark)]
    await say(bus, DEADLETTERS.name, f"deadletters.{tenant}.worker.{TASK}", cut, **{"Billow_Dead_Subject": queue})
    await say(bus, DEADLETTERS.name, f"deadletters.{tenant}.ocr.other", broken, **{"Billow_Dead_Subject": dead})
    misaddressed = codec.encode(make_submitted(document_id, tenant=tenant, source=mark))
    elsewhere = {"Billow_Dead_Subject": f"documents.{tenant}.submitted.elsewhere"}
    await say(bus, DEADLETTERS.name, f"deadletters.{tenant}.ocr.other", misaddressed, **elsewhere)


async def keep_replay_report(bus: Bus, *documents: tuple[str, str]) -> None:
    """A report with examples of (document id, mark)."""
    examples = [{"tenant": TENANT, "document_id": name, "before": mark, "after": ""} for name, mark in documents]
    report = {"run_id": "run-1", "fields": {"total": {"changed": 7, "examples": {"changed": examples}}}}
    await open_bucket(bus, REPLAYS)
    await put(bus, REPLAYS_BUCKET, "run-1.report", msgspec.json.encode(report))


async def traces(bus: Bus, mark: str) -> list[str]:
    """Subjects of all messages of all streams, buckets too, in which the mark is, payload and headers."""
    found: list[str] = []
    for info in await bus.js.streams_info():
        async for message in walk(bus, info.config.name or "", ">"):
            if mark.encode() in message.data or any(mark in value for value in message.fields.values()):
                found.append(message.subject)
    return found


def files_with(folder: Path, mark: str) -> list[Path]:
    """All files below a folder in which the mark is; a server may replace files meanwhile."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return [path for path in folder.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]
