"""The result: one record a document, as users, databases and events see it (version 1)."""

import msgspec
from msgspec import UNSET, UnsetType

from billow.schemas.geometry import Page, Region
from billow.schemas.labels import Kind, Status
from billow.schemas.tokens import Token


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One extracted value with the evidence for it."""

    value: str
    """Normalised: money as a decimal string, dates ISO 8601, times HH:MM, currencies ISO 4217."""
    text: str
    """As it stands on the page."""
    confidence: float
    """0..1"""
    regions: tuple[Region, ...] = ()


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One line item; a key that was not found is absent. Numbers are decimal strings."""

    name: str | UnsetType = UNSET
    quantity: str | UnsetType = UNSET
    unit_price: str | UnsetType = UNSET
    amount: str | UnsetType = UNSET
    discount: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    confidence: float = 0.0
    """0..1"""
    regions: tuple[Region, ...] = ()


class Tax(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the tax table. `rate` is a fraction: 9.5 % is "0.095"."""

    rate: str | UnsetType = UNSET
    amount: str | UnsetType = UNSET


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One arithmetic check between fields."""

    name: str
    passed: bool | None
    """None where the check does not apply."""
    detail: str = ""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a document failed, for a person and for a program."""

    code: str
    """Stable and machine-readable, e.g. `image_too_large`."""
    message: str
    """What happened and what to do next."""
    retryable: bool = False
    """Whether submitting the same bytes again may succeed."""
    stage: str = ""
    """Which part gave up: `submit`, `ocr`, `layout`, `receipt`."""


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema", tag="billow.record.v1"):
    """What is known about one revision of one document."""

    source: str
    """What the submitter called it, often a file name."""
    tenant: Token
    document_id: Token
    revision: int = 1
    run_id: Token | None = None
    """The replay that worked it out; None for the official record."""
    promoted_from: Token | UnsetType = UNSET
    """The replay whose record became this official one; absent where that is not so."""
    kind: Kind | None = None
    language: str | None = None
    """ISO 639-1."""
    status: Status
    error: Failure | None = None
    straight_through: bool = False
    """True when no person needs to look: all checks that apply passed and the key fields are sure."""
    pages: tuple[Page, ...] = ()
    fields: dict[str, Field] = {}
    """By the names of `FIELD_NAMES`; a field that was not found is absent."""
    items: tuple[Item, ...] = ()
    taxes: tuple[Tax, ...] = ()
    checks: tuple[Check, ...] = ()
    models: dict[str, str] = {}
    """Task -> model token."""
    timings_ms: dict[str, float] = {}
    """Stage -> milliseconds; `docs/architecture.md` lists the stages."""
    link_bytes: dict[str, int] = {}
    """Task -> bytes sent to its workers; `original`: bytes fetched from the object store."""
