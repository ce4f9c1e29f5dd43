# pyright: reportUnknownMemberType=false
"""What became of the documents: counted in the stream, in the database and among the dead letters."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Collection

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from sqlalchemy import func, select

from billow.bus.connection import Bus
from billow.bus.headers import DEAD_CODE, DEAD_MESSAGE, DEAD_SUBJECT
from billow.services.receipt.database import open_engine
from billow.services.receipt.tables import RecordRow

_LOOK_SECONDS = 0.1


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The counts that a run of chaos has to show."""

    accepted: int
    completed: int
    lost: tuple[str, ...]
    """Documents that were accepted and have no completed event."""
    stated_again: tuple[str, ...]
    """Documents with more than one completed event."""
    not_in_database: tuple[str, ...]
    doubled_in_database: tuple[str, ...]
    unexpected_in_database: tuple[str, ...]
    """Rows with another status than completed, or of documents that nobody handed in."""
    dead_letters: tuple[str, ...]
    """`<code> <subject>: <message>` of each."""
    longest_stall: float
    """seconds between two completions, or between a submission and the next completion, while documents waited"""

    @property
    def good(self) -> bool:
        """Whether nothing was lost, nothing doubled, and nothing died."""
        return not (
            self.lost
            or self.stated_again
            or self.not_in_database
            or self.doubled_in_database
            or self.unexpected_in_database
            or self.dead_letters
        )


async def judge(
    bus: Bus, database_url: str, tenant: str, accepted: Collection[str], *, patience: float = 60.0
) -> Verdict:
    """Count; needs the system whole and idle.

    Who waits hears of a completed document a moment before the stream has it, so what is missing there may still come,
    for `patience` seconds.
    """
    completed = f"documents.{tenant}.completed.*"
    await _until_stored(bus, completed, accepted, patience)
    completions = [message async for message in _messages(bus, "DOCUMENTS", completed)]
    submissions = [message async for message in _messages(bus, "DOCUMENTS", f"documents.{tenant}.submitted.*")]
    stated = Counter(message.subject.rpartition(".")[2] for message in completions)
    rows, others = await _rows(database_url, tenant)
    dead = [message async for message in _messages(bus, "DEADLETTERS", f"deadletters.{tenant}.*.*")]
    return Verdict(
        accepted=len(accepted),
        completed=len(stated),
        lost=tuple(sorted(set(accepted) - set(stated))),
        stated_again=tuple(sorted(name for name, count in stated.items() if count > 1)),
        not_in_database=tuple(sorted(set(accepted) - set(rows))),
        doubled_in_database=tuple(sorted(name for name, count in rows.items() if count > 1)),
        unexpected_in_database=tuple(sorted({*others, *(set(rows) - set(accepted))})),
        dead_letters=tuple(map(_describe, dead)),
        longest_stall=longest_stall([_moment(m) for m in submissions], [_moment(m) for m in completions]),
    )


def longest_stall(submitted: list[float], completed: list[float]) -> float:
    """Longest time, in s, in which documents waited and none was completed; both in s since the epoch, any order."""
    moments = sorted([(at, 1) for at in submitted] + [(at, -1) for at in completed])
    waiting, since, longest = 0, 0.0, 0.0
    for at, change in moments:
        if waiting > 0 and change < 0:
            longest = max(longest, at - since)
        if change < 0 or waiting <= 0:
            since = at
        waiting += change
    return longest


def _moment(message: Msg) -> float:
    return message.metadata.timestamp.timestamp()


def _describe(message: Msg) -> str:
    fields = message.headers or {}
    return f"{fields.get(DEAD_CODE)} {fields.get(DEAD_SUBJECT)}: {fields.get(DEAD_MESSAGE)}"


async def _until_stored(bus: Bus, subject: str, documents: Collection[str], patience: float) -> None:
    """Wait until each document has a message under this subject, or until the time is over."""
    until = time.monotonic() + patience
    while True:
        held: dict[str, int] = {}
        with contextlib.suppress(nats.errors.Error, nats.js.errors.Error, TimeoutError):
            held = (await bus.js.stream_info("DOCUMENTS", subjects_filter=subject)).state.subjects or {}
        if {name.rpartition(".")[2] for name in held} >= set(documents) or time.monotonic() > until:
            return
        await asyncio.sleep(_LOOK_SECONDS)


async def _messages(bus: Bus, stream: str, subject: str) -> AsyncGenerator[Msg]:
    held = (await bus.js.stream_info(stream, subjects_filter=subject)).state.subjects or {}
    subscription = await bus.js.subscribe(subject, stream=stream, ordered_consumer=True)
    try:
        for _ in range(sum(held.values())):
            try:
                yield await subscription.next_msg(timeout=30)
            except nats.errors.TimeoutError:
                raise AssertionError(f"{stream} does not hand out all of {subject}") from None
    finally:
        await subscription.unsubscribe()


async def _rows(database_url: str, tenant: str) -> tuple[Counter[str], list[str]]:
    """How many completed rows each document has, and which have another status."""
    engine = open_engine(database_url, wait=10)
    try:
        async with asyncio.timeout(60), engine.connect() as connection:
            query = select(RecordRow.document_id, RecordRow.status, func.count()).filter_by(tenant=tenant)
            found = (await connection.execute(query.group_by(RecordRow.document_id, RecordRow.status))).all()
    finally:
        await engine.dispose()
    completed = Counter({name: count for name, status, count in found if status == "completed"})
    return completed, [f"{name} ({status})" for name, status, _ in found if status != "completed"]
