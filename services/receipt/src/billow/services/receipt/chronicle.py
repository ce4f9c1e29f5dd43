"""What the stream tells about records, in the order in which it was said."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime

from billow.bus.history import PATIENCE_SECONDS, History, Stored
from billow.bus.replicas import first_from
from billow.schemas.events import EVENT_NAMES, Completed, Erased, Failed, Promoted, Submitted

TELLING = (Submitted, Completed, Failed, Promoted, Erased)
"""Kinds of events that say which records there are, or will be."""

_PAGE = 1_000
_BEHIND_SECONDS = 5.0
"""How long a replica may be behind; it takes so long where the end of the stream was taken out."""


async def chronicle(
    history: History, *, after: int, last: int, since: datetime | None = None
) -> AsyncGenerator[list[Stored]]:
    """All that was said about records, in the order of the stream, a few thousand messages at a time.

    The kinds of events are read side by side, each by its own subject, so that texts and layouts, nine tenths of the
    stream's bytes, are never sent.

    Args:
        history: of `DOCUMENTS`.
        after: sequence of the last message that is known already; 0 for all.
        last: sequence of the last message to be read.
        since: leaves out what was said before.

    Raises:
        TransientError: NATS did not answer for half a minute.
    """
    if last > after:
        # The end is that of the leader, and who answers may not have come there yet.
        await first_from(history, last, patience=_BEHIND_SECONDS)
    readers = [_Reader(history, EVENT_NAMES[kind], after, last, since) for kind in TELLING]
    while True:
        await asyncio.gather(*(reader.fill() for reader in readers))
        open_ones = [reader for reader in readers if not reader.done]
        # Up to here no reader can find anything older any more.
        bound = min((reader.messages[-1].sequence for reader in open_ones), default=last)
        found = [stored for reader in readers for stored in reader.take(bound)]
        if found:
            yield sorted(found)
        if not open_ones:
            return


class _Reader:
    """The messages of one kind that are read and not yet taken."""

    def __init__(self, history: History, name: str, after: int, last: int, since: datetime | None) -> None:
        self.messages: list[Stored] = []
        self.done = after >= last
        self._history = history
        self._subject = f"documents.*.{name}.*"
        self._next = after + 1
        self._last = last
        self._since = since

    async def fill(self) -> None:
        """Have at least one message, or be done."""
        while not self.messages and not self.done:
            page = await self._history.page(
                self._subject, start=self._next, since=self._since, limit=_PAGE, patience=PATIENCE_SECONDS
            )
            self.messages = [stored for stored in page if stored.sequence <= self._last]
            self.done = not page or page[-1].sequence >= self._last or page[-1].pending == 0
            if page:
                self._next, self._since = page[-1].sequence + 1, None

    def take(self, bound: int) -> list[Stored]:
        """Messages up to a sequence, which are then no longer here."""
        taken = [stored for stored in self.messages if stored.sequence <= bound]
        self.messages = self.messages[len(taken) :]
        return taken
