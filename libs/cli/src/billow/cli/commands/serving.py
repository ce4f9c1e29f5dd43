"""Who serves which model now, once or as a picture that moves."""

import asyncio
import contextlib

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from billow.client import Billow
from billow.runtime.errors import TransientError

_COLUMNS = ("model", "served by", "device", "waiting", "req/s", "p50 ms", "p95 ms", "fill", "MB")


async def show(billow: Billow, out: Console) -> None:
    """Print the workers that are there now.

    `waiting`: requests in the model's queue. `req/s`, `p50` and `p95` (of a batch) and `fill` are of the last minute.
    """
    out.print(await _table(billow))


async def watch(billow: Billow, out: Console, *, interval: float) -> None:
    """Go on showing them until Ctrl-C; says so when NATS does not answer, and goes on."""
    with Live(console=out, auto_refresh=False, screen=False) as live, contextlib.suppress(asyncio.CancelledError):
        while True:
            try:
                live.update(await _table(billow), refresh=True)
            except TransientError as e:
                live.update(f"waiting for NATS: {escape(str(e))}", refresh=True)
            await asyncio.sleep(interval)


async def _table(billow: Billow) -> Table:
    workers = await billow.workers()
    waiting = {worker.model: await billow.queue_depth(worker.task, worker.model) for worker in workers}
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in _COLUMNS:
        right = column in _COLUMNS[3:]
        table.add_column(column, justify="right" if right else "left", no_wrap=column in {"model", "device"})
    for worker in workers:
        table.add_row(
            worker.model,
            escape(f"{worker.host}:{worker.pid}"),
            escape(worker.device),
            str(waiting[worker.model]),
            f"{worker.requests_per_s:.1f}",
            f"{worker.p50_ms:.0f}",
            f"{worker.p95_ms:.0f}",
            f"{worker.batch_fill:.0%}",
            f"{worker.memory_mb:.0f}",
        )
    if not workers:
        table.caption = "No worker is there. Start one with `billow worker MODEL`."
    return table
