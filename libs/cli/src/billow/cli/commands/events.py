"""`billow events`: what happened, as it stands in the stream."""

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime

import msgspec
from rich.console import Console
from rich.text import Text

from billow.cli.counts import counted
from billow.cli.settings import CliSettings
from billow.client import Billow, EventKind
from billow.schemas import codec
from billow.schemas.events import (
    EVENT_NAMES,
    Analyzed,
    Cancelled,
    Completed,
    DocumentEvent,
    Erased,
    Failed,
    Promoted,
    Recognized,
    Submitted,
)

_STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "erased": "dim"}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for."""

    document_id: str | None
    since: datetime | None
    kinds: tuple[EventKind, ...]
    """Empty for all."""
    follow: bool
    as_table: bool
    tenant: str


async def run(options: Options, settings: CliSettings, out: Console, err: Console) -> bool:
    """Print events, the oldest first; False if a document was named of which there is nothing.

    Raises:
        StackUnreachableError: the stack does not answer.
        ValueError: a bad document id.
    """
    seen = False
    async with Billow(settings.nats_url or None, tenant=options.tenant) as billow:
        events = billow.events(
            options.document_id, since=options.since, kinds=options.kinds or None, follow=options.follow
        )
        with contextlib.suppress(asyncio.CancelledError):
            async for event in events:
                seen = True
                if options.as_table:
                    out.print(_line(event), soft_wrap=True)
                else:
                    out.file.write(codec.encode(event).decode() + "\n")
                    out.file.flush()
    if not seen and options.document_id is not None:
        message = f"No such event of document {options.document_id} in tenant {options.tenant!r}."
        err.print(Text(message, style="red"))
        return False
    return True


def _line(event: DocumentEvent) -> Text:
    """`2026-03-14 12:30:00.000  completed   doc-1    receipt, 13.14 SGD`, in local time."""
    name = EVENT_NAMES[type(event)]
    at = event.occurred_at.astimezone()
    document = event.document_id + (f" r{event.revision}" if event.revision > 1 else "")
    line = Text(f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}  ", style="dim")
    line.append(f"{name:<10}  ", style=_STYLES.get(name, "cyan"))
    line.append(f"{document:<26}", style="bold")
    return line.append("  " + ", ".join(filter(None, _details(event))))


def _details(event: DocumentEvent) -> Sequence[str]:
    details: Sequence[str] = ()
    match event:
        case Submitted():
            size = "" if event.image.size is None else f"{event.image.size / 1000:,.0f} kB"
            details = (event.source, size, event.lane if event.lane != "interactive" else "")
        case Recognized():
            details = (
                f"{counted(len(event.lines), 'line')} on {counted(len(event.pages), 'page')}",
                ", ".join(event.models.values()),
            )
        case Analyzed():
            found = f"{len(event.entities)} entities, {len(event.items)} items"
            details = (event.kind or "", event.language or "", found)
        case Completed():
            fields = event.record.fields
            total = " ".join(fields[name].value for name in ("total", "currency") if name in fields)
            why = f"promotion {event.promotion}" if event.promotion else ""
            details = (event.record.kind or "", total, why)
        case Failed():
            error = event.record.error
            details = (f"{error.code}: {error.message}" if error else "",)
        case Cancelled() | Erased():
            details = (event.reason,)
        case Promoted():
            details = (f"record of {event.from_run}", f"undoes {event.undoes}" if event.undoes else "")
    return details
