"""`billow up`: the whole stack on this machine until Ctrl-C."""

import asyncio
import contextlib
import signal
from pathlib import Path

from rich.console import Console
from rich.table import Table

from billow.cli import weights
from billow.cli.stack.stack import DEFAULT_MODELS, SERVICES, Stack

_DOES = {
    "ocr": "submitted → recognized",
    "layout": "recognized → analyzed",
    "receipt": "analyzed → completed, keeps the records",
}


async def run(folder: Path, port: int, models: tuple[str, ...], tenant: str, log_level: str, console: Console) -> None:
    """Start, show what runs where, wait for SIGINT or SIGTERM, stop in order.

    Raises:
        StackUnreachableError: a part cannot start.
    """
    chosen = models or DEFAULT_MODELS
    await asyncio.to_thread(weights.ensure, chosen, console)
    stack = Stack(folder, port=port, models=chosen, tenant=tenant, log_level=log_level)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    with console.status("starting") as status:
        start = asyncio.create_task(stack.start(lambda name: status.update(f"starting {name}")))
        stop = asyncio.create_task(stopping.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not start.done():
            start.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await start
    try:
        if not stopping.is_set():
            console.print(_screen(stack))
            _tell_restarts(stack, console)
            await stopping.wait()
    finally:
        console.print("Stopping: finishing what is in hand ...")
        await stack.stop()
        console.print("Stopped. Nothing was lost; `billow up` goes on from here.")


def _screen(stack: Stack) -> Table:
    table = Table(title="Billow is up", title_justify="left", caption_justify="left")
    table.add_column("part", style="cyan", no_wrap=True)
    table.add_column("pid", justify="right")
    table.add_column("what")
    assert stack.server is not None  # noqa: S101  (started)
    table.add_row("nats-server", str(stack.server.pid), stack.url)
    for name, process in stack.processes.items():
        what = _DOES[name] if name in SERVICES else f"model {name.removeprefix('worker-')}"
        table.add_row(name, str(process.pid), what)
    table.add_row("records", "", str(stack.folder / "billow.db"))
    table.add_row("logs", "", str(stack.logs))
    table.caption = f"Try: BILLOW_NATS_URL={stack.url} billow extract PHOTO      Ctrl-C stops everything."
    return table


def _tell_restarts(stack: Stack, console: Console) -> None:
    def tell(name: str, code: int) -> None:
        console.print(f"[yellow]{name} ended with {code} and is started again; its log: {stack.logs / name}.log[/]")

    for process in stack.processes.values():
        process.on_restart = tell
