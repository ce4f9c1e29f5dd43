# pyright: reportUnknownMemberType=false
"""Load, mischief and verdict together."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import nats.errors
import nats.js.errors

from integration_tests.chaos.load import Load
from integration_tests.chaos.mischief import Deed, Mischief
from integration_tests.chaos.verdict import Verdict, judge
from integration_tests.cluster import Cluster, Containers, Plan

PLAN = Plan(replicas=2)
"""Two of each service, so that the others go on when one is killed."""
_LOOK_SECONDS = 2.0
_SETTLE_SECONDS = 300.0
"""After the last deed, until everything that was accepted must be done; a document may wait a minute for its turn."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed."""

    seed: int
    seconds: float
    """from the first submission to the last completion"""
    refusals: int
    deeds: tuple[Deed, ...]
    verdict: Verdict

    def describe(self) -> str:
        """For people."""
        verdict = self.verdict
        lines = [
            f"seed {self.seed}: {verdict.accepted:,} documents in {self.seconds:.0f} s, {len(self.deeds)} deeds",
            *map(str, self.deeds),
            f"accepted {verdict.accepted:,} ({self.refusals:,} attempts refused or unanswered, each made again)",
            f"completed {verdict.completed:,}, lost {len(verdict.lost)}, stated again {len(verdict.stated_again)}",
            f"in the database: missing {len(verdict.not_in_database)}, doubled {len(verdict.doubled_in_database)}, "
            f"unexpected {len(verdict.unexpected_in_database)}",
            f"dead letters {len(verdict.dead_letters)}",
            f"longest stall {verdict.longest_stall:.1f} s",
        ]
        wrong = (
            *verdict.lost,
            *verdict.stated_again,
            *verdict.not_in_database,
            *verdict.doubled_in_database,
            *verdict.unexpected_in_database,
            *verdict.dead_letters,
        )
        return "\n".join((*lines, *(f"  {what}" for what in wrong[:20])))


async def run(
    folder: Path,
    *,
    documents: int,
    seconds: float,
    seed: int,
    every: float = 5.0,
    containers: Containers | None = None,
    progress: Callable[[int, int], None] = lambda _accepted, _completed: None,
) -> Outcome:
    """Hand in documents for about `seconds` while something breaks every few seconds, and judge what became of them.

    Args:
        folder: Takes models and logs; must not exist, or be empty.
        documents: How many.
        seconds: In which they are handed in.
        seed: Chooses what is broken.
        every: Seconds between two deeds.
        containers: Running ones; else it has its own.
        progress: Called with how many are accepted and completed.
    """
    async with await Cluster.open(folder, PLAN, containers=containers) as cluster:
        load = Load(cluster.url, count=documents, seconds=seconds)
        mischief = Mischief(cluster, seed=seed, every=every)
        started = time.monotonic()
        loading = asyncio.create_task(load.run())
        watching = asyncio.create_task(_watch(cluster, load, progress))
        await mischief.run(loading.done)
        await loading
        await cluster.until_whole()
        async with asyncio.timeout(_SETTLE_SECONDS):
            await watching
        ended = time.monotonic()
        async with cluster.bus() as bus:
            verdict = await judge(bus, cluster.database_url, load.tenant, load.accepted)
    return Outcome(
        seed=seed,
        seconds=ended - started,
        refusals=load.refusals,
        deeds=tuple(mischief.deeds),
        verdict=verdict,
    )


async def _watch(cluster: Cluster, load: Load, progress: Callable[[int, int], None]) -> None:
    """Returns when as many are completed as are to be handed in."""
    subject = f"documents.{load.tenant}.completed.*"
    completed = 0
    async with cluster.bus() as bus:
        while completed < len(load.ids):
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                info = await bus.js.stream_info("DOCUMENTS", subjects_filter=subject)
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
                continue
            completed = len(info.state.subjects or {})
            progress(len(load.accepted), completed)
