"""What came of a run, read from the streams batch by batch."""

import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from billow.bus.connection import Bus
from billow.bus.history import History, Stored
from billow.bus.replay.book import Run
from billow.bus.replay.comparison import TASKS, Comparison
from billow.bus.replay.results import Result, Wanted, official_records, read_result, stated_record
from billow.bus.replay.selection import key_of
from billow.bus.replay.truth import TruthSource
from billow.bus.topology import RUNS
from billow.schemas.labels import Task
from billow.schemas.replay import ReplayReport, Start

_DONE_ANEW: dict[Start, tuple[Task, ...]] = {"submitted": TASKS, "recognized": ("token-classification",)}


async def make_report(bus: Bus, run: Run, truth: TruthSource | None = None) -> ReplayReport:
    """Compare each outcome of the run with the official record as it is now.

    Holds one batch of results and the names of all documents, about 100 bytes each.

    Raises:
        TransientError: NATS does not answer.
        UsageError: the truth cannot be read.
    """
    started = time.perf_counter()
    spec, state = run.spec, run.state
    comparison, completed = Comparison(), 0
    async for results in _results(bus, spec.run_id):
        wanted = [Wanted(result.tenant, result.document_id, result.revision) for result in results]
        records = await official_records(bus, wanted)
        for result, record in zip(results, records, strict=True):
            known = None if truth is None else await truth.of(result.tenant, result.document_id, result.source)
            comparison.add(None if record is None else read_result(record), result, known)
            completed += result.status == "completed"
    model_s = comparison.model_s(_DONE_ANEW[spec.start])
    answered = state.completed + state.failed
    return ReplayReport(
        run_id=spec.run_id,
        start=spec.start,
        models=dict(spec.models),
        compared=comparison.documents,
        completed=completed,
        failed=comparison.documents - completed,
        new=comparison.new,
        unanswered=state.unanswered,
        fields=comparison.changes(),
        accuracy=comparison.accuracy(),
        task_time=comparison.task_time(),
        active_s=state.active_s,
        documents_per_s=answered / state.active_s if state.active_s else 0.0,
        model_s=model_s,
        cost=model_s / 3600 * spec.price_per_hour,
        price_per_hour=spec.price_per_hour,
        compared_at=datetime.now(UTC),
        comparison_s=time.perf_counter() - started,
    )


async def _results(bus: Bus, run_id: str) -> AsyncGenerator[list[Result]]:
    """The outcome of each document once; a completed one outranks a failed one."""
    async for batch in outcomes(bus, run_id):
        yield [read_result(record) for _, record in batch]


async def outcomes(
    bus: Bus, run_id: str, names: tuple[str, ...] = ("completed", "failed")
) -> AsyncGenerator[list[tuple[Stored, bytes]]]:
    """Batches of a run's outcomes with their records as JSON, each document once, completed ones first.

    Raises:
        TransientError: NATS does not answer.
    """
    seen: set[str] = set()
    for name in names:
        async for batch in History(bus, RUNS.name).batches(f"runs.*.{run_id}.{name}.*"):
            found: list[tuple[Stored, bytes]] = []
            for stored in batch:
                key, record = key_of(stored.subject), stated_record(stored)
                if key not in seen and record is not None:
                    seen.add(key)
                    found.append((stored, record))
            yield found
