"""`billow models swap`: one model takes over from another under load, with proof."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from billow.bus.presence import present_workers
from billow.bus.swap import Swap
from billow.bus.swap_watch import PHASES, SwapReport
from billow.cli.hub import connect, who
from billow.cli.names import Names
from billow.schemas import codec
from billow.schemas.labels import Task


async def run(
    task: Task,
    old: str,
    new: str,
    *,
    watch: float,
    timeout: float,
    note: str,
    table: bool,
    out: Console,
    err: Console,
) -> bool:
    """Swap and print the proof; True if nothing was lost or doubled. Models by name or token.

    Raises:
        StackUnreachableError, UsageError, TransientError, PermanentError: see `Swap`.
    """
    async with await connect("swap") as bus:
        names = Names(task, await present_workers(bus))
        swap = Swap(bus, task, names.token(old), names.token(new), watch=watch, timeout=timeout)
        with err.status("connected") as status:

            def tell(step: str) -> None:
                status.update(step)
                if not err.is_terminal:
                    err.print(step)

            report = await swap.run(tell, by=who(), note=note)
    if table:
        _show(report, out)
    else:
        out.file.write(codec.encode(report).decode() + "\n")
    return report.clean


def _show(report: SwapReport, out: Console) -> None:
    bad = "[red]" if not report.clean else "[green]"
    out.print(
        f"{report.old} → {report.new}, route version {report.version}\n"
        f"{bad}lost {report.lost}, doubled {report.doubled}[/] of {report.requests} requests, "
        f"{report.failed} answered with an error\n"
        f"longest gap {report.longest_gap_ms:g} ms (work queued and nobody pulling), "
        f"{report.old} drained after {report.drain_s:g} s"
    )
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("", "requests", "p50 ms", "p95 ms", "longest ms"):
        grid.add_column(column, justify="left" if not column else "right")
    for phase in PHASES:
        latency = report.latency[phase]
        numbers = (latency.p50_ms, latency.p95_ms, latency.longest_ms)
        grid.add_row(phase, str(latency.requests), *(f"{value:g}" for value in numbers))
    out.print(grid)
    out.print(
        f"The workers of {report.old} have nothing left and may be stopped. Back: `billow models swap "
        f"{report.task} {report.new} {report.old}`, or `billow models route {report.task} --rollback`."
    )
