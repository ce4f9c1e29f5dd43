"""Records as far as two of them are compared: values, without the evidence for them."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, Struct, UnsetType

from billow.bus.connection import Bus
from billow.bus.history import PATIENCE_SECONDS, History, Stored
from billow.bus.outcome import latest_record
from billow.schemas import codec, subjects
from billow.schemas.record import Record, Tax


class Value(Struct, frozen=True):
    """Of a field."""

    value: str


class Line(Struct, frozen=True):
    """A line item."""

    name: str | UnsetType = UNSET
    quantity: str | UnsetType = UNSET
    unit_price: str | UnsetType = UNSET
    amount: str | UnsetType = UNSET
    discount: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class Result(Struct, frozen=True):
    """A record, as far as it is compared."""

    source: str
    tenant: str
    document_id: str
    status: str
    revision: int = 1
    straight_through: bool = False
    fields: dict[str, Value] = {}
    items: tuple[Line, ...] = ()
    taxes: tuple[Tax, ...] = ()
    timings_ms: dict[str, float] = {}


class _Stating(Struct):
    """`completed` or `failed`, with its record as it stands there."""

    record: msgspec.Raw
    revision: int = 1
    run_id: str | None = None


class Wanted(Struct, frozen=True):
    """Which record."""

    tenant: str
    document_id: str
    revision: int


async def official_records(bus: Bus, wanted: Sequence[Wanted]) -> list[bytes | None]:
    """The official records, each as JSON; None where there is none.

    Most need one look for hundreds. Only where a document ended several times is its whole history read.

    Raises:
        TransientError: NATS does not answer.
    """
    names = [(one, _subject(one, "completed"), _subject(one, "failed")) for one in wanted]
    lasts = await History(bus).newest([subject for _, *both in names for subject in both], patience=PATIENCE_SECONDS)
    found: list[bytes | None] = []
    for one, *both in names:
        ends = [lasts[subject] for subject in both if subject in lasts]
        record = _only(ends, one)
        if record is None and ends:
            latest = await latest_record(bus, one.tenant, one.document_id, revision=one.revision)
            record = None if latest is None else codec.encode(latest)
        found.append(record)
    return found


def read_result(record: bytes) -> Result:
    """Of a record as JSON. Raises CodecError."""
    return codec.decode(record, Result, codec.JSON)


def read_record(record: bytes) -> Record:
    """All of it. Raises CodecError."""
    return codec.decode(record, Record, codec.JSON)


def stated_record(stored: Stored) -> bytes | None:
    """The record, as JSON, that a `completed` or `failed` event carries; None where it cannot be read."""
    try:
        if codec.content_type_of(stored.data, stored.content_type) == codec.JSON:
            return bytes(codec.decode(stored.data, _Stating, codec.JSON).record)
        return codec.encode(codec.decode(stored.data, _Whole, codec.MSGPACK).record)
    except codec.CodecError:
        return None


class _Whole(Struct):
    record: Record


def _only(ends: list[Stored], wanted: Wanted) -> bytes | None:
    """The record of the one outcome that there is, if it is of the revision."""
    if len(ends) != 1 or (record := stated_record(ends[0])) is None:
        return None
    return record if read_result(record).revision == wanted.revision else None


def _subject(one: Wanted, name: str) -> str:
    return subjects.document(one.tenant, name, one.document_id)
