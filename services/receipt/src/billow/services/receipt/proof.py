"""Rebuilds a database of records, and says how far it is proven equal to the one that is there."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from billow.bus.connection import Bus
from billow.bus.window import Window, stream_window
from billow.services.receipt.compare import Suspects, compare, judge, rows_of
from billow.services.receipt.places import Place, prepare
from billow.services.receipt.rebuild import Key, Rebuild

EXAMPLES = 20
"""Rows that are named of each kind of difference."""
RECENT = timedelta(seconds=60)
"""A row that changed so shortly before may be ahead of the stream: it is stored first and told then. Clocks differ."""

_LOOK_SECONDS = 0.5

Progress = Callable[[str, int, int], None]
"""Told the step, how far it is and how far it goes."""
Kind = Literal["different", "only in the old database", "only in the stream"]


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One row that is not the same."""

    kind: Kind
    tenant: str
    document_id: str
    revision: int
    columns: tuple[str, ...] = ()
    """In which they differ; `record.<part>` of the record as a whole, `items` of the table of items."""


class Report(msgspec.Struct, kw_only=True):
    """What was rebuilt and what that proves."""

    built: str
    """where the new database is"""
    compared_with: str = ""
    """empty where there was no old one"""
    since: datetime | None = None
    """The stream, or what was asked for, begins here; None for an empty stream."""
    last_sequence: int = 0
    outcomes: int = 0
    """`completed` and `failed` that were read"""
    records: int = 0
    equal: int = 0
    different: int = 0
    only_old: int = 0
    only_stream: int = 0
    older: int = 0
    """rows from before the window, of which the stream cannot say anything"""
    of_runs: int = 0
    """rows of replays, which are no records"""
    waiting: int = 0
    """documents on their way: submitted, and no outcome yet"""
    erasures: int = 0
    unreadable: int = 0
    """events that could not be read"""
    looked_again: int = 0
    """rows that were not the same at first, and were looked at again as the system went on"""
    differences: list[Difference] = []
    """examples"""
    rebuild_seconds: float = 0.0
    compare_seconds: float = 0.0
    replaced: bool = False

    @property
    def disagrees(self) -> int:
        """Rows within the window that are not the same in both."""
        return self.different + self.only_old + self.only_stream

    @property
    def proven(self) -> bool:
        """Whether both databases hold the same over the window, and there was one to compare and something to say."""
        is_silent = self.since is None and self.older > 0
        return bool(self.compared_with) and not self.disagrees and not self.unreadable and not is_silent


class Proof:
    """One rebuild. `run` leaves a whole new database, whatever it finds."""

    def __init__(
        self, bus: Bus, target: Place, old: Place | None, *, since: datetime | None = None, patience: float = 10.0
    ) -> None:
        """`target` is empty or not there; of `old`, None where it is lost, nothing is changed.

        Rows that just changed and differ are looked at again for `patience` seconds.
        """
        self.report = Report(built=str(target), compared_with=str(old) if old else "")
        self.started = datetime.now(UTC)
        self._bus = bus
        self._target = target
        self._old = old
        self._since = since
        self._looks = max(1, round(patience / _LOOK_SECONDS))

    async def run(self, progress: Progress = lambda _step, _done, _whole: None) -> Report:
        """Build, compare, look again at what differs.

        Raises:
            TransientError: NATS or a database does not answer.
            UsageError: the target holds records.
        """
        await prepare(self._target)
        window = await stream_window(self._bus)
        self.report.since = max(filter(None, (window.since, self._since)), default=None) if window.since else None
        async with self._target.opened() as new:
            rebuild = Rebuild(self._bus, new)
            before = time.perf_counter()
            await self._read(rebuild, window, progress)
            self.report.rebuild_seconds = time.perf_counter() - before
            if self._old is not None:
                async with self._old.opened() as old:
                    before = time.perf_counter()
                    await self._compare(rebuild, old, new, progress)
                    self.report.compare_seconds = time.perf_counter() - before
            await self._count(rebuild)
        return self.report

    async def _read(self, rebuild: Rebuild, window: Window, progress: Progress) -> None:
        length = window.last - window.first + 1

        def reached(sequence: int) -> None:
            progress("reading the stream", max(0, sequence - window.first + 1), length)

        await rebuild.read(window.last, since=self._since, progress=reached)

    async def _count(self, rebuild: Rebuild) -> None:
        report, told = self.report, rebuild.told
        report.last_sequence, report.outcomes = told.sequence, told.outcomes
        report.erasures, report.unreadable = told.erasures, told.unreadable
        report.waiting, report.records = await rebuild.waiting(), await rebuild.count()

    async def _compare(self, rebuild: Rebuild, old: AsyncEngine, new: AsyncEngine, progress: Progress) -> None:
        done, whole = 0, 2 * await rebuild.count()

        def looked(rows: int) -> None:
            nonlocal done
            done += rows
            progress("comparing", done, max(done, whole))

        found = await compare(old, new, self.report.since, progress=looked)
        self.report.older, self.report.of_runs = found.older, found.of_runs
        suspects = found.suspects
        self.report.looked_again = len(suspects.keys)
        equal, suspects = await self._look_again(rebuild, old, new, suspects, progress)
        self.report.equal = found.equal + equal
        self.report.different = len(suspects.different)
        self.report.only_old, self.report.only_stream = len(suspects.only_old), len(suspects.only_new)
        self.report.differences = _examples(suspects)

    async def _look_again(
        self, rebuild: Rebuild, old: AsyncEngine, new: AsyncEngine, suspects: Suspects, progress: Progress
    ) -> tuple[int, Suspects]:
        """Until nothing more changes that could settle a difference: the service stores first and tells then."""
        equal = 0
        for look in range(self._looks):
            if not suspects.keys:
                break
            progress("looking again", look, self._looks)
            known = rebuild.told.sequence
            await rebuild.read((await stream_window(self._bus)).last)
            keys = suspects.keys
            count, suspects = judge(keys, await rows_of(old, keys), await rows_of(new, keys))
            equal += count
            has_grown = rebuild.told.sequence > known
            if not has_grown and not any(self._is_recent(suspects, key) for key in suspects.keys):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return equal, suspects

    def _is_recent(self, suspects: Suspects, key: Key) -> bool:
        changed = suspects.changed_at.get(key)
        return changed is not None and changed >= self.started - RECENT


def _examples(suspects: Suspects) -> list[Difference]:
    def named(kind: Kind, keys: list[Key]) -> list[Difference]:
        return [
            Difference(
                kind=kind,
                tenant=key[0],
                document_id=key[1],
                revision=key[2],
                columns=suspects.different.get(key, ()),
            )
            for key in sorted(keys)[:EXAMPLES]
        ]

    return [
        *named("different", list(suspects.different)),
        *named("only in the old database", list(suspects.only_old)),
        *named("only in the stream", list(suspects.only_new)),
    ]
