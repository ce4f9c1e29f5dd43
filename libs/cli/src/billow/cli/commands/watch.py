"""`billow watch`: documents as they move through the stages."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, Sequence
from datetime import datetime

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from billow.cli.commands.journeys import Journey, table
from billow.cli.settings import CliSettings
from billow.client import Billow
from billow.schemas.events import EVENT_NAMES, DocumentEvent

_REFRESH_SECONDS = 0.25
_REMEMBERED = 1_000
"""Documents kept in mind; the ones that ended first are forgotten first."""
_MARGIN = 4
"""Lines of a terminal that are not for documents."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for."""

    document_ids: tuple[str, ...]
    since: datetime
    """What moved before is not shown, unless documents were named."""
    once: bool
    as_table: bool
    tenant: str


async def run(options: Options, settings: CliSettings, out: Console, err: Console) -> bool:
    """Show documents until Ctrl-C, or until all that were named have ended; True if those completed.

    Raises:
        StackUnreachableError: the stack does not answer.
        ValueError: a bad document id.
    """
    async with Billow(settings.nats_url or None, tenant=options.tenant) as billow:
        picture = _Picture(options, out)
        with picture.shown(), contextlib.suppress(asyncio.CancelledError):
            async for event in _events(billow, options):
                picture.take(event)
    missing = [name for name in options.document_ids if name not in picture.journeys]
    for name in missing:
        err.print(Text(f"No document {name} in tenant {options.tenant!r}.", style="red"))
    return not options.document_ids or (
        not missing and all(picture.journeys[name].status == "completed" for name in options.document_ids)
    )


async def _events(billow: Billow, options: Options) -> AsyncGenerator[DocumentEvent]:
    """Of the documents named until each has ended, or of the tenant."""
    if not options.document_ids:
        async for event in billow.events(since=options.since, follow=not options.once):
            yield event
        return
    queue: asyncio.Queue[DocumentEvent | None] = asyncio.Queue(maxsize=100)

    async def follow(document_id: str) -> None:
        async for event in billow.events(document_id, follow=not options.once):
            await queue.put(event)
        await queue.put(None)

    async with asyncio.TaskGroup() as group:
        for name in options.document_ids:
            group.create_task(follow(name))
        left = len(options.document_ids)
        while left:
            event = await queue.get()
            if event is None:
                left -= 1
            else:
                yield event


class _Picture:
    """All documents that were seen, as a table that moves or as lines of JSON."""

    def __init__(self, options: Options, out: Console) -> None:
        self.journeys: dict[str, Journey] = {}
        self._options = options
        self._out = out

    def take(self, event: DocumentEvent) -> None:
        """Move the document on."""
        journey = self.journeys.setdefault(event.document_id, Journey(document_id=event.document_id))
        journey.take(event)
        if len(self.journeys) > _REMEMBERED:
            ended = (name for name, each in self.journeys.items() if each.status)
            del self.journeys[next(ended, next(iter(self.journeys)))]
        if not self._options.as_table:
            line = {"at": event.occurred_at, "event": EVENT_NAMES[type(event)], **journey.row(event.occurred_at)}
            self._out.file.write(msgspec.json.encode(line).decode() + "\n")
            self._out.file.flush()

    @contextlib.contextmanager
    def shown(self) -> Generator[None]:
        """Keep the table on the terminal up to date; for programs there is none."""
        if not self._options.as_table:
            yield
            return
        if not self._out.is_terminal:
            yield
            self._out.print(self._table())
            return
        # The times of what is on its way run on, so it is drawn again and again.
        with Live(get_renderable=self._table, console=self._out, refresh_per_second=1 / _REFRESH_SECONDS):
            yield

    def _table(self) -> Table:
        height = self._out.height - _MARGIN if self._out.is_terminal else _REMEMBERED
        # Those on their way last, beside the prompt.
        ordered: Sequence[Journey] = sorted(self.journeys.values(), key=lambda each: not each.status)
        return table(ordered[-max(1, height) :], tenant=self._options.tenant, width=self._out.width)
