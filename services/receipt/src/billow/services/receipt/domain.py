"""From what was read to the record: normalise, check, and decide whether a person has to look."""

from collections.abc import Mapping
from datetime import date

import msgspec

from billow.schemas.events import Analyzed, Cancelled, Event, Recognized, Submitted
from billow.schemas.labels import Kind
from billow.schemas.record import Check, Failure, Field, Record
from billow.services.receipt.checks import TOTAL_CHECKS, run_checks
from billow.services.receipt.context import read_context
from billow.services.receipt.fields import read_fields
from billow.services.receipt.figures import read_figures
from billow.services.receipt.rows import read_items, read_taxes

STRAIGHT_THROUGH_CONFIDENCE = 0.7
"""0..1; what each key field needs at least, unless the caller says otherwise."""
_DOUBTED = 0.8

_KEY_FIELDS: dict[Kind, tuple[str, ...]] = {"receipt": ("total", "date"), "invoice": ("total", "invoice_number")}


def build_record(
    analyzed: Analyzed,
    *,
    today: date | None = None,
    min_confidence: float = STRAIGHT_THROUGH_CONFIDENCE,
    timings_ms: Mapping[str, float] | None = None,
) -> Record:
    """The completed record of an analyzed document; one with nothing on it completes with no fields.

    The same event and arguments always give the same record.

    Args:
        analyzed: texts with labels.
        today: the day from which dates are judged; the day of submission unless given.
        min_confidence: 0..1, what the key fields need for `straight_through`.
        timings_ms: stages to add to those of the event.
    """
    today = today or analyzed.origin.submitted_at.date()
    context = read_context(analyzed, today)
    fields, unreadable = read_fields(analyzed.entities, context)
    items, unreadable_items = read_items(analyzed.items, context)
    taxes, unreadable_taxes = read_taxes(analyzed.taxes, context)
    figures = read_figures(fields, items, taxes, context)
    checks = (
        *run_checks(fields, figures, kind=analyzed.kind, today=today),
        *unreadable,
        *unreadable_items,
        *unreadable_taxes,
    )
    fields = _doubt_total(fields, checks)
    return Record(
        source=analyzed.origin.source,
        tenant=analyzed.tenant,
        document_id=analyzed.document_id,
        revision=analyzed.revision,
        run_id=analyzed.run_id,
        kind=analyzed.kind,
        language=analyzed.language,
        status="completed",
        straight_through=_is_straight_through(analyzed.kind, fields, checks, min_confidence),
        pages=analyzed.pages,
        fields=fields,
        items=items,
        taxes=taxes,
        checks=checks,
        models=analyzed.models,
        timings_ms={**analyzed.timings_ms, **(timings_ms or {})},
        link_bytes=analyzed.link_bytes,
    )


def failed_record(event: Event, failure: Failure, *, timings_ms: Mapping[str, float] | None = None) -> Record:
    """The record of a document that could not be processed, with all that is known of it from its last event."""
    known = event if isinstance(event, Recognized | Analyzed) else None
    described = event if isinstance(event, Submitted) else known
    source = event.source if isinstance(event, Submitted) else known.origin.source if known else ""
    return Record(
        source=source,
        tenant=event.tenant,
        document_id=event.document_id,
        revision=event.revision,
        run_id=event.run_id,
        kind=described.kind if described else None,
        language=described.language if described else None,
        status="failed",
        error=failure,
        pages=known.pages if known else (),
        models=known.models if known else {},
        timings_ms={**(known.timings_ms if known else {}), **(timings_ms or {})},
        link_bytes=known.link_bytes if known else {},
    )


def cancelled_record(cancelled: Cancelled, submitted: Submitted | None) -> Record:
    """The record of a document that nobody wants any more; `submitted` is None where nobody handed it in yet."""
    by = f" by {cancelled.source}" if cancelled.source else ""
    why = f": {cancelled.reason}" if cancelled.reason else ""
    failure = Failure(
        code="cancelled",
        message=f"It was cancelled{by}{why}{'' if why.endswith(('.', '!', '?')) else '.'} "
        f"Submit it with a higher revision than {cancelled.revision} to have it processed after all.",
        stage="receipt",
    )
    return msgspec.structs.replace(failed_record(submitted or cancelled, failure), status="cancelled")


def _doubt_total(fields: dict[str, Field], checks: tuple[Check, ...]) -> dict[str, Field]:
    """Lower the confidence of a total that one check contradicts and none confirms."""
    verdicts = {check.passed for check in checks if check.name in TOTAL_CHECKS}
    if "total" not in fields or False not in verdicts or True in verdicts:
        return fields
    total = fields["total"]
    return fields | {"total": msgspec.structs.replace(total, confidence=round(total.confidence * _DOUBTED, 4))}


def _is_straight_through(
    kind: Kind | None, fields: Mapping[str, Field], checks: tuple[Check, ...], min_confidence: float
) -> bool:
    """Whether all key fields are there and sure, and no check failed."""
    sure = all(name in fields and fields[name].confidence >= min_confidence for name in _KEY_FIELDS[kind or "receipt"])
    return sure and not any(check.passed is False for check in checks)
