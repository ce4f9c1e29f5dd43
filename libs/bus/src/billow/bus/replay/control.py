# pyright: reportUnknownMemberType=false
"""What others may do to a run: begin it, pause it, take it back."""

from datetime import UTC, datetime

import msgspec

from billow.bus.connection import Bus
from billow.bus.faults import translated
from billow.bus.replay.book import ReplayBook, Run, TakenOverError
from billow.bus.topology import RUNS
from billow.runtime.errors import UsageError
from billow.schemas.replay import Order, ReplaySpec, Status

_STEPS = ("submitted", "recognized", "analyzed")


def new_run_id(now: datetime | None = None) -> str:
    """A run id that sorts by time, e.g. `20260314-123000`."""
    return (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S-%f")[:19]


async def pause(bus: Bus, run_id: str) -> bool:
    """Stop sending; what was sent is still worked on. False where the run was not running.

    Raises:
        UsageError: there is no such run.
    """
    return await _end(bus, run_id, "pause", "paused")


async def cancel(bus: Bus, run_id: str) -> int:
    """End a run for good; returns how many events were taken out of `RUNS`, so that services do not begin them.

    What a service has in hand or holds is still worked on. Doing it again takes out what has come since.

    Raises:
        UsageError: there is no such run, or it is finished.
    """
    run = await ReplayBook(bus).get(run_id)
    if run.state.status == "finished":
        raise UsageError(f"Run {run_id} is finished already; there is nothing to cancel.")
    await _end(bus, run_id, "cancel", "cancelled")
    return await purge(bus, run.spec)


async def purge(bus: Bus, spec: ReplaySpec) -> int:
    """Take all out of `RUNS` that services would still consume; outcomes stay. Returns how many events."""
    gone = 0
    for step in _STEPS:
        subject = f"runs.*.{spec.run_id}.{step}.*"
        # Not the client's call, which does not tell how many there were.
        with translated(f"purging {subject}"):
            answer = await bus.client.request(
                f"{bus.api_prefix}.STREAM.PURGE.{RUNS.name}", msgspec.json.encode({"filter": subject}), timeout=10
            )
        gone += msgspec.json.decode(answer.data, type=_Purged).purged
    return gone


class _Purged(msgspec.Struct):
    purged: int = 0


async def _end(bus: Bus, run_id: str, order: Order, status: Status) -> bool:
    book = ReplayBook(bus)
    run = await book.get(run_id)
    if run.state.status in (status, "finished", "cancelled"):
        return False
    await book.give_order(run_id, order)
    if not run.is_driven:
        await _write_for_the_dead(book, run, status)
    return True


async def _write_for_the_dead(book: ReplayBook, run: Run, status: Status) -> None:
    state = msgspec.structs.replace(run.state, status=status, driver="", updated_at=datetime.now(UTC))
    try:
        await book.write(run, state)
    except TakenOverError:
        # It lives after all, and looks at its orders.
        return
