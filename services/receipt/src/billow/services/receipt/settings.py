"""What the receipt service can be told through the environment."""

from typing import Annotated

from msgspec import Meta

from billow.bus.consume import LOOKAHEAD
from billow.runtime.settings import ProcessSettings
from billow.services.receipt.domain import STRAIGHT_THROUGH_CONFIDENCE


class ReceiptSettings(ProcessSettings, frozen=True, kw_only=True):
    """Environment of the receipt service, `BILLOW_<FIELD>`."""

    database_url: str = "sqlite+aiosqlite:///billow.db"
    """SQLAlchemy URL with an async driver: `sqlite+aiosqlite:///<path>` or `postgresql+asyncpg://...`."""
    database_wait: Annotated[float, Meta(gt=0)] = 10.0
    """Seconds to wait for a busy database before the event is given back for later."""
    receipt_concurrency: Annotated[int, Meta(ge=1)] = 4
    """Documents in hand at once, but for one of a tenant that has none."""
    receipt_run_concurrency: Annotated[int, Meta(ge=1)] = 16
    """Documents of replays in hand at once, beside the others; they cost the database nothing."""
    receipt_lookahead: Annotated[int, Meta(ge=0)] = LOOKAHEAD
    """Events held at most to find whose turn it is, by tenant and lane; 0 takes them in the order of the stream."""
    straight_through_confidence: Annotated[float, Meta(ge=0, le=1)] = STRAIGHT_THROUGH_CONFIDENCE
    """What the key fields of a record need at least to pass without a person."""
    retention_sweep: Annotated[float, Meta(ge=0)] = 3600.0
    """Seconds between two looks for documents that are older than their tenant's retention; 0 never looks."""
    erasure_again: Annotated[float, Meta(gt=0)] = 60.0
    """Seconds after an erasure until a second look takes out what came late."""
