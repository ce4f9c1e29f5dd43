"""The tables of records. The JSON is the truth; columns beside it exist to be queried."""

import datetime as dt
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
    DateTime,
    ForeignKey,
    Index,
    MetaData,
    Numeric,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

# SQLite has no exact decimals: there these columns hold floats, good enough to filter and add up.
_AMOUNT = Numeric(20, 4, asdecimal=False)


class Base(DeclarativeBase):
    """Holds the metadata that migrations are compared with."""

    metadata = MetaData(naming_convention=_NAMING)


class RecordRow(Base):
    """One revision of one document, in one run."""

    __tablename__ = "records"
    __table_args__ = (
        UniqueConstraint("tenant", "document_id", "revision", "run_id"),
        Index(None, "tenant", "date"),
        Index(None, "tenant", "created_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(64))
    document_id: Mapped[str] = mapped_column(String(64))
    revision: Mapped[int]
    run_id: Mapped[str] = mapped_column(String(64), default="")
    """Empty for the record itself: NULLs would not be unique."""
    status: Mapped[str] = mapped_column(String(16))
    kind: Mapped[str | None] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(Text)
    straight_through: Mapped[bool]
    store_name: Mapped[str | None] = mapped_column(Text)
    date: Mapped[dt.date | None] = mapped_column(Date)
    currency: Mapped[str | None] = mapped_column(String(3))
    total: Mapped[float | None] = mapped_column(_AMOUNT)
    promoted_sequence: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Place in the stream of the promotion that it stems from; 0 for a record that was worked out."""
    record: Mapped[dict[str, Any]] = mapped_column(JSON)
    """The whole record, as on the wire."""
    created_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    """UTC; SQLite keeps no offset."""
    updated_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    """UTC; SQLite keeps no offset."""


class ItemRow(Base):
    """One line item of a record."""

    __tablename__ = "items"

    record_id: Mapped[int] = mapped_column(ForeignKey("records.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 0, in the order of the record."""
    name: Mapped[str | None] = mapped_column(Text)
    code: Mapped[str | None] = mapped_column(Text)
    quantity: Mapped[float | None] = mapped_column(_AMOUNT)
    unit_price: Mapped[float | None] = mapped_column(_AMOUNT)
    amount: Mapped[float | None] = mapped_column(_AMOUNT)
    discount: Mapped[float | None] = mapped_column(_AMOUNT)


class ErasureRow(Base):
    """What was erased, so that nothing that comes late brings it back. Says nothing of content."""

    __tablename__ = "erasures"

    tenant: Mapped[str] = mapped_column(String(64), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Empty for all of the tenant."""
    scope: Mapped[str] = mapped_column(String(16), primary_key=True)
    """`all`, or `before` for what was submitted before `before`."""
    before: Mapped[dt.datetime | None] = mapped_column(DateTime(timezone=True))
    """UTC; SQLite keeps no offset."""
    sequence: Mapped[int] = mapped_column(BigInteger)
    """Place of the event in the stream: what is submitted after it is new."""
    erased_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    """When the stream stored the event; UTC."""
