"""What happened to a document. Events are facts: frozen, and never rewritten.

On `DOCUMENTS` they travel as JSON under `documents.<tenant>.<event>.<document_id>`, and what belongs to a replay on
`RUNS` under `runs.<tenant>.<run_id>.<event>.<document_id>`. A new field has a default; a changed meaning is a new
version of the tag; the recorded bytes in `schemas/golden/` must decode for ever.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from billow.schemas.geometry import Page, Region, TextLine
from billow.schemas.labels import Kind, Lane
from billow.schemas.record import Record
from billow.schemas.tokens import Token

Instant = Annotated[datetime, Meta(tz=True)]
"""A point in time with its offset; we write UTC."""
Revision = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""Fits into a column of the database."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every event says about itself."""

    tenant: Token
    document_id: Token
    event_id: Annotated[str, Meta(min_length=1, max_length=256)]
    """Unique within the tenant for what it states; `<tenant>.<event_id>` is the `Nats-Msg-Id`, so sending it again
    changes nothing."""
    occurred_at: Instant
    revision: Revision = 1
    """Counts the times a document was submitted anew."""
    deadline: Instant | None = None
    """After this nobody waits for the result any more."""
    run_id: Token | None = None
    """The replay that this belongs to; None for the record itself."""


class ImageRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A claim check: the original lies in the object store bucket `IMAGES_<tenant>`."""

    key: Annotated[str, Meta(min_length=1, max_length=255)]
    """Object name, `<document_id>/original` unless the publisher chose another."""
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """Hex digest, checked when given."""
    size: Annotated[int, Meta(ge=0)] | None = None
    """bytes"""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What later stages need to know about the submission."""

    source: str
    submitted_at: Instant
    lane: Lane = "interactive"


class Submitted(Event, frozen=True, kw_only=True, tag="document.submitted.v1"):
    """A document was handed in; its original is already in the object store."""

    image: ImageRef
    source: Annotated[str, Meta(max_length=1024)] = ""
    kind: Kind | None = None
    """What the submitter says it is; None lets the layout stage decide."""
    language: str | None = None
    """ISO 639-1, if the submitter knows."""
    lane: Lane = "interactive"
    asked: dict[str, Token] = {}
    """Task -> model token that a replay asks for; it wins over the task's route."""


class Recognized(Event, frozen=True, kw_only=True, tag="document.recognized.v1"):
    """The text on every page is known."""

    origin: Origin
    pages: tuple[Page, ...]
    lines: tuple[TextLine, ...]
    """In reading order, page by page."""
    kind: Kind | None = None
    language: str | None = None
    models: dict[str, str] = {}
    """Task -> model token."""
    timings_ms: dict[str, float] = {}
    link_bytes: dict[str, int] = {}
    """Task -> bytes sent to its workers; `original`: bytes fetched from the object store."""
    asked: dict[str, Token] = {}
    """Task -> model token that a replay asks for; it wins over the task's route."""


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """Neighbouring words with one label."""

    label: str
    """One of `WORD_LABELS`."""
    text: str
    confidence: float
    """0..1"""
    regions: tuple[Region, ...] = ()


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Entities that belong together: one line item (`item.*`) or one row of the tax table (`tax.*`)."""

    entities: tuple[Entity, ...]


class Analyzed(Event, frozen=True, kw_only=True, tag="document.analyzed.v1"):
    """The words mean something."""

    origin: Origin
    pages: tuple[Page, ...]
    entities: tuple[Entity, ...]
    items: tuple[Group, ...] = ()
    taxes: tuple[Group, ...] = ()
    kind: Kind | None = None
    language: str | None = None
    models: dict[str, str] = {}
    timings_ms: dict[str, float] = {}
    link_bytes: dict[str, int] = {}


class Completed(Event, frozen=True, kw_only=True, tag="document.completed.v1"):
    """The record is stored."""

    record: Record
    promotion: Token | None = None
    """The promotion that made this record the official one; None for one that was worked out."""


class Failed(Event, frozen=True, kw_only=True, tag="document.failed.v1"):
    """The document ended without a result; the stored record says why, and whether it failed or was cancelled."""

    record: Record
    promotion: Token | None = None
    """The undone promotion that brought this record back; None for one that was worked out."""


class Cancelled(Event, frozen=True, kw_only=True, tag="document.cancelled.v1"):
    """Nobody wants this revision of the document any more. Any backend may say so, also before it is submitted.

    A wish, not an outcome: that is `failed` with a record whose status is `cancelled`, or what was stored before.
    """

    reason: Annotated[str, Meta(max_length=1024)] = ""
    """For a person; ends up in the record."""
    source: Annotated[str, Meta(max_length=1024)] = ""
    """Who cancelled it, e.g. a program or a user."""


class Promoted(Event, frozen=True, kw_only=True, tag="document.promoted.v1"):
    """A replay's record is to be the official one from now on, or, undone, the record before it again.

    Of several about one revision the last in the stream counts. The receipt service stores the record and states it as
    `completed` or `failed`, with `promotion` set.
    """

    promotion: Token
    """Names this promotion, or the taking back of one; the same for all documents that it is about."""
    from_run: Token
    """The replay that worked the record out."""
    record: Record
    """Official from now on; its `run_id` is None and its `promoted_from` says the run, if it is of one."""
    before: Record | None = None
    """What was official until now, for undoing; None where there was no record."""
    undoes: Token | None = None
    """The promotion that this takes back."""


class Erased(Event, frozen=True, kw_only=True, tag="document.erased.v1"):
    """All that was kept about the document is to be gone; this event is what stays, and it says nothing about content.

    With scope `tenant` it is about every document of the tenant, or those submitted before `before`; `document_id` then
    names the erasure.
    """

    scope: Literal["document", "tenant"] = "document"
    before: Instant | None = None
    """Only what was submitted before; None for all."""
    reason: Annotated[str, Meta(max_length=1024)] = ""
    """For an auditor, e.g. a ticket; must not name a person."""


DocumentEvent = Submitted | Recognized | Analyzed | Completed | Failed | Cancelled | Promoted | Erased

EVENT_NAMES: dict[type[Event], str] = {
    Submitted: "submitted",
    Recognized: "recognized",
    Analyzed: "analyzed",
    Completed: "completed",
    Failed: "failed",
    Cancelled: "cancelled",
    Promoted: "promoted",
    Erased: "erased",
}
"""Event class -> the token that names it in subjects."""


def event_id(name: str, document_id: str, revision: int, run_id: str | None = None) -> str:
    """The deterministic id of an event: the same step of the same revision always has the same one."""
    return ".".join(filter(None, (run_id, document_id, str(revision), name)))
