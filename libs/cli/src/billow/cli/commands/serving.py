"""Who serves which model now, once or as a picture that moves."""

import asyncio
import contextlib

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from billow.client import Billow
from billow.runtime.errors import TransientError

_TEXTS = ("model", "served by", "device")
_NUMBERS = ("queue", "items\n/s", "p50\nms", "p95\nms", "fill", "saved\ns", "MB")


async def show(billow: Billow, out: Console) -> None:
    """Print the workers that are there now.

    `queue`: requests that wait for the model or are being worked on. `items/s` (pages, crops or documents), `p50` and
    `p95` (of a batch) and `fill` are of the last minute. `saved`: model time since the start that was not spent on what
    nobody wanted any more. The model's token ends with its version.
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
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in _TEXTS:
        # Only this one may be broken into lines where the terminal is narrow.
        table.add_column(column, no_wrap=column != "served by", overflow="fold")
    for column in _NUMBERS:
        table.add_column(column, justify="right", no_wrap=True)
    for worker in workers:
        table.add_row(
            worker.model,
            escape(f"{worker.host}:{worker.pid}"),
            escape(worker.device),
            str(waiting[worker.model]),
            f"{worker.items_per_s:.1f}",
            f"{worker.p50_ms:.0f}",
            f"{worker.p95_ms:.0f}",
            f"{worker.batch_fill:.0%}",
            f"{worker.saved_s:.0f}",
            f"{worker.memory_mb:.0f}",
        )
    if not workers:
        table.caption = "No worker is there. Start one with `billow worker MODEL`."
    return table
