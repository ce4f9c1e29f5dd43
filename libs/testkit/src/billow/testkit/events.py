"""Events and records as the services would make them, all about one small receipt.

Each function takes the ids that a test wants to vary; anything else by keyword, as in the Struct's constructor.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from billow.schemas.events import (
    EVENT_NAMES,
    Analyzed,
    Cancelled,
    Completed,
    Entity,
    Erased,
    Event,
    Failed,
    Group,
    ImageRef,
    Origin,
    Promoted,
    Recognized,
    Submitted,
    event_id,
)
from billow.schemas.geometry import Page, Quad, Region, TextLine
from billow.schemas.labels import Status
from billow.schemas.record import Check, Failure, Field, Item, Record, Tax
from billow.schemas.subjects import original_key

MOMENT = datetime(2026, 3, 14, 12, 30, tzinfo=UTC)
"""When everything here happened."""
TENANT = "default"
DOCUMENT_ID = "doc-1"
SOURCE = "noodles.jpg"
PAGE = Page(width=400, height=600)

_MODELS = {"text-detection": "fake-det_1-0-0", "text-recognition": "fake-rec_1-0-0"}
_TEXTS = (
    "Lucky Noodle House",
    "2019-04-01 18:05",
    "1 Beef Noodles 8.00",
    "2 Iced Tea 4.00",
    "Tax 9.5% 1.14",
    "Total 13.14",
)


def quad_of_line(row: int) -> Quad:
    """The quad (px) of a line of the receipt; 0 is the first."""
    top = 40.0 + 50.0 * row
    return (20.0, top, 380.0, top, 380.0, top + 30.0, 20.0, top + 30.0)


def _region(row: int) -> tuple[Region, ...]:
    return (Region(page=0, quad=quad_of_line(row)),)


def _entity(label: str, text: str, row: int) -> Entity:
    return Entity(label=label, text=text, confidence=0.97, regions=_region(row))


def _group(row: int, **parts: str) -> Group:
    return Group(entities=tuple(_entity(f"item.{key}", text, row) for key, text in parts.items()))


def _about(kind: type[Event], document_id: str, tenant: str, revision: int, run_id: str | None) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "document_id": document_id,
        "revision": revision,
        "run_id": run_id,
        "event_id": event_id(EVENT_NAMES[kind], document_id, revision, run_id),
        "occurred_at": MOMENT,
    }


def _origin() -> Origin:
    return Origin(source=SOURCE, submitted_at=MOMENT)


def make_submitted(
    document_id: str = DOCUMENT_ID,
    *,
    tenant: str = TENANT,
    revision: int = 1,
    run_id: str | None = None,
    **changes: Any,
) -> Submitted:
    """A submission whose original lies at the usual key; nothing is put there."""
    about = _about(Submitted, document_id, tenant, revision, run_id)
    event = Submitted(**about, image=ImageRef(key=original_key(document_id)), source=SOURCE)
    return msgspec.structs.replace(event, **changes)


def make_recognized(
    document_id: str = DOCUMENT_ID,
    *,
    tenant: str = TENANT,
    revision: int = 1,
    run_id: str | None = None,
    **changes: Any,
) -> Recognized:
    """The receipt's text: six lines on one page, top to bottom."""
    event = Recognized(
        **_about(Recognized, document_id, tenant, revision, run_id),
        origin=_origin(),
        pages=(PAGE,),
        lines=tuple(TextLine(text=text, quad=quad_of_line(row), confidence=0.98) for row, text in enumerate(_TEXTS)),
        models=dict(_MODELS),
        timings_ms={"queue": 1.0, "decode": 4.0, "text-detection": 90.0},
    )
    return msgspec.structs.replace(event, **changes)


def make_analyzed(
    document_id: str = DOCUMENT_ID,
    *,
    tenant: str = TENANT,
    revision: int = 1,
    run_id: str | None = None,
    **changes: Any,
) -> Analyzed:
    """What the receipt's words mean: two items that sum up, one tax row, the total."""
    event = Analyzed(
        **_about(Analyzed, document_id, tenant, revision, run_id),
        origin=_origin(),
        pages=(PAGE,),
        entities=(
            _entity("store_name", "Lucky Noodle House", 0),
            _entity("date", "2019-04-01", 1),
            _entity("time", "18:05", 1),
            _entity("tax", "1.14", 4),
            _entity("total", "13.14", 5),
        ),
        items=(
            _group(2, quantity="1", name="Beef Noodles", amount="8.00"),
            _group(3, quantity="2", name="Iced Tea", amount="4.00"),
        ),
        taxes=(Group(entities=(_entity("tax.rate", "9.5%", 4), _entity("tax.amount", "1.14", 4))),),
        kind="receipt",
        language="en",
        models={**_MODELS, "token-classification": "fake-rules_1-0-0"},
        timings_ms={"queue": 1.0, "decode": 4.0, "text-detection": 90.0, "token-classification": 2.0},
    )
    return msgspec.structs.replace(event, **changes)


def make_record(
    document_id: str = DOCUMENT_ID,
    *,
    tenant: str = TENANT,
    revision: int = 1,
    run_id: str | None = None,
    **changes: Any,
) -> Record:
    """The finished record of the receipt. With `status="failed"` give an `error` too, or use `make_failed`."""
    values = (
        ("store_name", "Lucky Noodle House", 0),
        ("date", "2019-04-01", 1),
        ("time", "18:05", 1),
        ("tax", "1.14", 4),
        ("total", "13.14", 5),
    )
    record = Record(
        source=SOURCE,
        tenant=tenant,
        document_id=document_id,
        revision=revision,
        run_id=run_id,
        kind="receipt",
        language="en",
        status="completed",
        straight_through=True,
        pages=(PAGE,),
        fields={
            name: Field(value=text, text=text, confidence=0.97, regions=_region(row)) for name, text, row in values
        },
        items=(
            Item(name="Beef Noodles", quantity="1", amount="8.00", confidence=0.97, regions=_region(2)),
            Item(name="Iced Tea", quantity="2", amount="4.00", confidence=0.97, regions=_region(3)),
        ),
        taxes=(Tax(rate="0.095", amount="1.14"),),
        checks=(Check(name="items_and_tax_sum_to_total", passed=True, detail="8.00 + 4.00 + 1.14 = 13.14"),),
        models={**_MODELS, "token-classification": "fake-rules_1-0-0"},
        timings_ms={"queue": 1.0, "decode": 4.0, "total": 300.0},
    )
    return msgspec.structs.replace(record, **changes)


def make_completed(
    document_id: str = DOCUMENT_ID, *, record: Record | None = None, promotion: str | None = None, **ids: Any
) -> Completed:
    """The record is stored. `ids`: tenant, revision, run_id, as for `make_record`."""
    record = record or make_record(document_id, **ids)
    about = _about(Completed, record.document_id, record.tenant, record.revision, record.run_id)
    return Completed(**about, record=record, promotion=promotion)


def make_failed(
    document_id: str = DOCUMENT_ID, *, error: Failure | None = None, status: Status = "failed", **ids: Any
) -> Failed:
    """The document could not be processed, by default because its image was not there, or was cancelled."""
    error = error or Failure(code="image_missing", message="The image is not there. Send it again.", stage="ocr")
    whole = make_record(document_id, **ids)
    record = Record(
        source=whole.source,
        tenant=whole.tenant,
        document_id=whole.document_id,
        revision=whole.revision,
        run_id=whole.run_id,
        status=status,
        error=error,
    )
    return Failed(**_about(Failed, document_id, whole.tenant, whole.revision, whole.run_id), record=record)


def make_promoted(document_id: str = DOCUMENT_ID, *, record: Record | None = None, **ids: Any) -> Promoted:
    """A replay's record is to be the official one. `ids`: tenant, revision, as for `make_record`."""
    before = make_record(document_id, **ids)
    record = record or msgspec.structs.replace(before, promoted_from="run-1", language="de")
    about = _about(Promoted, record.document_id, record.tenant, record.revision, None)
    return Promoted(**about, promotion="promote-run-1", from_run="run-1", record=record, before=before)


def make_erased(document_id: str = DOCUMENT_ID, *, tenant: str = TENANT, **changes: Any) -> Erased:
    """A person asked for it to be gone."""
    event = Erased(**_about(Erased, document_id, tenant, 1, None), reason="ticket 4711")
    return msgspec.structs.replace(event, **changes)


def make_cancelled(
    document_id: str = DOCUMENT_ID,
    *,
    tenant: str = TENANT,
    revision: int = 1,
    run_id: str | None = None,
    **changes: Any,
) -> Cancelled:
    """A person took the receipt back."""
    event = Cancelled(
        **_about(Cancelled, document_id, tenant, revision, run_id), reason="The photo was the wrong one.", source="app"
    )
    return msgspec.structs.replace(event, **changes)
