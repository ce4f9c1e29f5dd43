"""`billow cost`: prints a bill beside what others pay."""

from pathlib import Path

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from billow.cli.cost_bill import Bill, Capacity, Compared, bill, compare
from billow.cli.cost_values import Plan, read_plan

_STYLE = {"carries": "green", "waits at the peak": "yellow", "cannot carry": "red"}


def show(path: Path, out: Console, *, table: bool) -> bool:
    """Print the bill of a file of values; False if its topology cannot carry its load.

    Raises:
        UsageError: the file cannot be used; the message names the key.
    """
    plan = read_plan(path)
    ours = bill(plan)
    others = compare(plan, ours)
    if table:
        _print_table(plan, ours, others, out)
    else:
        lines = [{"type": "topology", "name": plan.name, **_builtins(ours)}]
        lines += [{"type": "comparison", **_builtins(each)} for each in others]
        for line in lines:
            out.file.write(msgspec.json.encode(line).decode() + "\n")
    return ours.capacity.verdict != "cannot carry"


def _builtins(what: Bill | Compared) -> dict[str, object]:
    return msgspec.to_builtins(what)


def _print_table(plan: Plan, ours: Bill, others: list[Compared], out: Console) -> None:
    load = plan.load
    out.print(
        Text(
            f"{plan.name}: {load.documents_a_month:,} documents a month of {load.bytes_a_document / 1e6:g} MB, "
            f"originals kept for {load.retention_days:g} days"
        )
    )
    lines = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, show_footer=True)
    lines.add_column("a month", footer="all")
    lines.add_column("is")
    lines.add_column("USD", justify="right", footer=f"{ours.usd:,.2f}")
    for item in ours.items:
        lines.add_row(escape(item.name), escape(item.amount), f"{item.usd:,.2f}")
    out.print(lines)
    out.print(_comparison(plan, ours, others))
    out.print(_verdict(plan, ours.capacity))
    for number, each in enumerate(others, 1):
        note = f" {each.note}." if each.note else ""
        out.print(Text(f"[{number}] {each.source}, {each.as_of}.{note}", style="dim"))


def _comparison(plan: Plan, ours: Bill, others: list[Compared]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("beside others")
    for name in ("USD a month", "USD per 1,000", "of ours"):
        table.add_column(name, justify="right")
    table.add_row(escape(plan.name), f"{ours.usd:,.2f}", f"{ours.usd_a_thousand:.4f}", "", style="bold")
    for number, each in enumerate(others, 1):
        times = f"{each.times:.2f} x" if each.times else ""
        table.add_row(escape(f"{each.name} [{number}]"), f"{each.usd:,.2f}", f"{each.usd_a_thousand:.4f}", times)
    return table


def _verdict(plan: Plan, capacity: Capacity) -> Text:
    measured = plan.measured
    text = Text(capacity.verdict, style=_STYLE[capacity.verdict])
    text.append(f": {capacity.reason}\n" if capacity.reason else "\n", style="default")
    text.append(
        f"{capacity.mean:.3f} documents/s on average, {capacity.peak:.3f} in the busiest hour; "
        f"these machines carry {capacity.carried:.3f}.\n"
        f"The busiest hour needs {capacity.worker_sets} sets of workers of {measured.worker_cores:g} cores "
        f"(there is room for {capacity.worker_sets_there}) and {capacity.service_cores:.1f} cores of services.\n"
        f"Counted with {capacity.documents_a_second_a_core:.3f} documents/s a core ({measured.source}), "
        f"{measured.busy:.0%} busy.\n",
        style="default",
    )
    if capacity.verdict == "waits at the peak":
        text.append("Nothing is lost at the peak: documents wait in the queue and are done later.\n", style="default")
    return text
