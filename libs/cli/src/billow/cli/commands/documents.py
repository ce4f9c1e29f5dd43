"""`billow submit`, `billow get` and `billow cancel`: hand in now, ask later or take back."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from billow.cli import render
from billow.cli.paths import found_in, read
from billow.cli.settings import CliSettings
from billow.client import Billow
from billow.client.sources import source_of
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas import codec
from billow.schemas.labels import Kind, Lane
from billow.schemas.record import Record


async def submit(
    paths: Sequence[Path],
    *,
    kind: Kind | None,
    language: str | None,
    lane: Lane,
    document_id: str | None,
    tenant: str,
    settings: CliSettings,
    out: Console,
    err: Console,
) -> bool:
    """Hand in files; prints `<document id> TAB <path>` for each that is safely stored. True if all are.

    Raises:
        StackUnreachableError: the stack does not answer.
        UsageError: there are no documents.
    """
    files, accepted = found_in(paths), True
    async with Billow(settings.nats_url or None, tenant=tenant) as billow:
        for path in files:
            shown = source_of(path)
            try:
                data = await asyncio.to_thread(read, path)
                name = await billow.submit(
                    data, source=shown, document_id=document_id, kind=kind, language=language, lane=lane
                )
            except OSError as e:
                err.print(Text(f"{shown}: {e.strerror or e}. Check the path.", style="red"))
                accepted = False
            except (TransientError, PermanentError) as e:
                err.print(Text(f"{shown}: not accepted: {e}", style="red"))
                accepted = False
            else:
                # Not `print`: rich expands tabs and wraps.
                out.file.write(f"{name}\t{shown}\n")
                out.file.flush()
    return accepted


async def get(
    document_id: str, *, wait: float, table: bool, tenant: str, settings: CliSettings, out: Console, err: Console
) -> bool:
    """Print the record of a document, waiting up to `wait` seconds for it; True if it completed.

    Raises:
        StackUnreachableError: the stack does not answer.
    """
    async with Billow(settings.nats_url or None, tenant=tenant) as billow:
        record = await billow.get(document_id)
        if record is None and wait > 0:
            try:
                record = await billow.result(document_id, timeout=wait)
            except TimeoutError as e:
                err.print(Text(str(e), style="red"))
                return False
    if record is None:
        message = f"No record of {document_id} in tenant {tenant!r} yet. Wait for it with --wait SECONDS."
        err.print(Text(message, style="red"))
        return False
    _show(record, table, out)
    return record.status == "completed"


async def cancel(
    document_id: str,
    *,
    reason: str,
    wait: float,
    table: bool,
    tenant: str,
    settings: CliSettings,
    out: Console,
    err: Console,
) -> bool:
    """Take a document back and print the record that ended it; True if it is cancelled now.

    Raises:
        StackUnreachableError: the stack does not answer.
    """
    async with Billow(settings.nats_url or None, tenant=tenant) as billow:
        try:
            record = await billow.cancel(document_id, reason=reason, timeout=wait)
        except TimeoutError as e:
            err.print(Text(str(e), style="red"))
            return False
    if record is None:
        message = f"Nothing to cancel: no document {document_id} was handed in by tenant {tenant!r}."
        err.print(Text(message, style="red"))
        return False
    if record.status != "cancelled":
        err.print(Text(f"Too late: document {document_id} had {record.status} before.", style="yellow"))
    _show(record, table, out)
    return record.status == "cancelled"


def _show(record: Record, table: bool, out: Console) -> None:
    if table:
        out.print(render.panel(record))
    else:
        out.file.write(codec.encode(record).decode() + "\n")
