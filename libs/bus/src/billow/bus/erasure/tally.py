"""Takes messages out and counts what was taken; of a dry run it only counts."""

import contextlib
from collections.abc import Awaitable, Callable

from billow.bus.connection import Bus
from billow.bus.erasure.messages import Found, count, overwrite, purge, scan, size_of, subjects_of
from billow.bus.erasure.report import Removed

OnProgress = Callable[[tuple[Removed, ...]], Awaitable[None]]

_OFTEN = 500
"""Messages between two words of progress."""


class Tally:
    """What one erasure removed so far, by place."""

    def __init__(self, bus: Bus, *, dry: bool = False, on_progress: OnProgress | None = None) -> None:
        """`on_progress` is told now and then, and may be awaited for long."""
        self.bus = bus
        self.dry = dry
        self.places: list[tuple[str, int]] = []
        """Stream and sequence of each message that was taken out by itself."""
        self._removed: dict[str, Removed] = {}
        self._on_progress = on_progress
        self._unsaid = 0
        self._said: tuple[Removed, ...] | None = None

    @property
    def removed(self) -> tuple[Removed, ...]:
        """By place, in the order of work."""
        return tuple(self._removed.values())

    async def add(self, place: str, number: int = 0, size: int | None = None, note: str = "") -> None:
        """Count what was removed in a place."""
        new = Removed(place=place, count=number, bytes=size, note=note)
        self._removed[place] = self._removed[place] + new if place in self._removed else new
        self._unsaid += number
        if self._unsaid >= _OFTEN:
            await self.say()

    async def say(self) -> None:
        """Tell how far it is, if that is further than when it was told last."""
        self._unsaid = 0
        if self._on_progress is not None and self.removed != self._said:
            self._said = self.removed
            await self._on_progress(self._said)

    async def delete(self, place: str, found: Found) -> None:
        """Take out one message, its bytes overwritten. Raises TransientError when the server does not answer."""
        if self.dry or await overwrite(self.bus, found):
            self.places.append((found.stream, found.sequence))
            await self.add(place, 1, found.size)

    async def clear(self, place: str, stream: str, pattern: str, *, each: bool, before: int | None = None) -> None:
        """Take out all messages that fit, those below `before` if given.

        `each`: one by one, overwritten; else at once, which leaves their bytes in the server's files for a while.

        Raises:
            TransientError: the server does not answer.
        """
        if each:
            async with contextlib.aclosing(scan(self.bus, stream, pattern, headers_only=True)) as messages:
                async for found in messages:
                    if before is not None and found.sequence >= before:
                        return
                    await self.delete(place, found)
        elif self.dry:
            await self.add(place, await count(self.bus, stream, pattern, before=before))
        else:
            held = await size_of(self.bus, stream)
            number = await purge(self.bus, stream, pattern, before=before)
            freed = held - await size_of(self.bus, stream) if number else 0
            await self.add(place, number, max(0, freed))

    async def forget_waits(self, bucket: str) -> None:
        """Remove what the bucket notes about the messages that were taken out by themselves. Counts as `waits`."""
        stream = f"KV_{bucket}"
        for name, sequence in self.places:
            for subject in (f"$KV.{bucket}.{name}.*.{sequence}", f"$KV.{bucket}.{name}.*.{sequence}.trial"):
                if self.dry:
                    number = sum((await subjects_of(self.bus, stream, subject)).values())
                else:
                    number = await purge(self.bus, stream, subject)
                if number:
                    await self.add("waits", number)
