"""Taking a document back."""

from datetime import UTC, datetime

from billow.bus.cancellations import announce
from billow.bus.connection import Bus
from billow.bus.outcome import latest_record
from billow.bus.publish import find_event, latest_event, publish_event
from billow.client.waiting import Waiting
from billow.schemas.events import Cancelled, Submitted, event_id
from billow.schemas.record import Record
from billow.schemas.tokens import check_token

_REASON_LENGTH = 1024


async def cancel(
    bus: Bus,
    waiting: Waiting,
    tenant: str,
    document_id: str,
    reason: str,
    revision: int | None,
    timeout: float | None,
) -> Record | None:
    """As `Billow.cancel`."""
    if len(reason) > _REASON_LENGTH:
        raise ValueError(f"the reason has {len(reason):,} characters, {_REASON_LENGTH:,} are allowed")
    submitted = await _submission(bus, tenant, check_token(document_id, "document_id"), revision)
    if submitted is None:
        return None
    event = Cancelled(
        tenant=tenant,
        document_id=document_id,
        event_id=event_id("cancelled", document_id, submitted.revision),
        occurred_at=datetime.now(UTC),
        revision=submitted.revision,
        reason=reason,
    )
    async with waiting.watch(document_id, event.revision) as watch:
        record = await latest_record(bus, tenant, document_id, revision=event.revision)
        if record is not None:
            return record
        await publish_event(bus, event)
        await announce(bus, event)
        try:
            return await watch.record(timeout)
        except TimeoutError as e:
            raise TimeoutError(
                f"Document {document_id} is cancelled, but nothing recorded it within {timeout:g} s. See whether "
                f"the receipt service runs, and ask again with `billow get {document_id}`."
            ) from e


async def _submission(bus: Bus, tenant: str, document_id: str, revision: int | None) -> Submitted | None:
    if revision is None:
        return await latest_event(bus, Submitted, tenant, document_id)
    return await find_event(bus, Submitted, tenant, document_id, revision)
