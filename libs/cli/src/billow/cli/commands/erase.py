"""`billow erase`: says what is to be gone, waits until it is, and prints the account of it."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from billow.bus import erasure
from billow.bus.connection import Bus
from billow.bus.erasure import ErasureReport, retention
from billow.cli.hub import connect
from billow.runtime.errors import UsageError
from billow.schemas import codec
from billow.schemas.events import Erased

_UNITS = ("B", "kB", "MB", "GB", "TB")


class What(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be erased; exactly one of document, tenant (alone or with before), before and expired."""

    document: str = ""
    tenant: str = ""
    before: datetime | None = None
    expired: bool = False
    reason: str = ""


async def preview(what: What, table: bool, out: Console, err: Console) -> None:
    """Print what would be removed; changes nothing.

    Raises:
        StackUnreachableError: NATS does not answer.
    """
    async with await connect("erase") as bus:
        reports: list[ErasureReport] = []
        for event in await _events(bus, what):
            removed = await erasure.preview(bus, event)
            report = erasure.new_report(event, 0)
            reports.append(report.with_removed(removed, "done"))
    _print(reports, table, out, err, nothing="Nothing would be removed from the bus.")
    err.print(Text("Nothing was changed. Rows of the database are counted when they are deleted.", style="dim"))


async def erase(what: What, *, ask: bool, wait: float, table: bool, out: Console, err: Console) -> bool:
    """State the erasures, wait for the receipt service and print what it removed. False if it is not done yet.

    Raises:
        UsageError: nobody said yes; nothing was stated.
        StackUnreachableError: NATS does not answer.
    """
    async with await connect("erase") as bus:
        events = await _events(bus, what)
        if ask and events:
            await asyncio.to_thread(_confirm, what, events, err)
        stated = [(event, await erasure.state_erasure(bus, event)) for event in events]
        reports: list[ErasureReport] = []
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        ) as bar:
            line = bar.add_task("erasing", total=None)

            def show(report: ErasureReport) -> None:
                number = sum(each.count for each in report.removed)
                where = report.removed[-1].place if report.removed else "waiting"
                bar.update(line, description=f"{report.tenant}: {number:,} removed, {where}")

            for event, sequence in stated:
                report = await erasure.wait_for_report(bus, event.tenant, sequence, wait, show)
                reports.append(report or erasure.new_report(event, sequence))
    _print(reports, table, out, err, nothing="Nothing was there to be removed.")
    late = [report for report in reports if report.state != "done"]
    if late:
        names = ", ".join(f"{report.tenant} (event {report.sequence})" for report in late)
        err.print(
            Text(
                f"Stated, and not done yet: {names}. It stays stated: the receipt service carries it out as soon as it "
                "runs; see its log.",
                style="yellow",
            )
        )
    return not late


async def _events(bus: Bus, what: What) -> list[Erased]:
    if what.document:
        return [erasure.document_erasure(what.tenant, what.document, reason=what.reason)]
    if what.expired:
        return [
            msgspec.structs.replace(event, reason=what.reason or event.reason) for event in await retention.expired(bus)
        ]
    if what.before is not None:
        return await retention.older_than(bus, what.before, reason=what.reason, tenant=what.tenant or None)
    return [erasure.tenant_erasure(what.tenant, reason=what.reason)]


def _confirm(what: What, events: Sequence[Erased], err: Console) -> None:
    """Blocks until a person has answered."""
    if not sys.stdin.isatty():
        raise UsageError("Nobody is there to be asked; say --yes, or --dry-run to see what would go.")
    tenants = sorted({event.tenant for event in events})
    if what.document:
        question, expected = f"Erase document {what.document} of tenant {what.tenant} for good? [yes/no] ", "yes"
    elif what.before is None and not what.expired:
        question, expected = f"Erase everything of tenant {what.tenant} for good? Type its name: ", what.tenant
    else:
        borders = ", ".join(f"{event.tenant} before {_when(event.before)}" for event in events[:10])
        question, expected = f"Erase for good, of {len(tenants)} tenants: {borders}? [yes/no] ", "yes"
    err.print(Text(question), end="")
    if sys.stdin.readline().strip() != expected:
        raise UsageError("Not confirmed; nothing was erased.")


def _when(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if moment is not None else "now"


def _print(reports: Sequence[ErasureReport], table: bool, out: Console, err: Console, *, nothing: str) -> None:
    if not table:
        for report in reports:
            out.file.write(codec.encode(report).decode() + "\n")
        return
    if not any(each.count for report in reports for each in report.removed):
        out.print(Text(nothing))
        return
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, right in (("tenant", False), ("erased", False), ("place", False), ("removed", True), ("size", True)):
        grid.add_column(name, justify="right" if right else "left")
    for report in reports:
        what = report.document_id if report.scope == "document" else f"before {_when(report.before)}"
        if report.scope == "tenant" and report.before is None:
            what = "everything"
        for each in report.removed:
            if each.count:
                grid.add_row(report.tenant, what, each.place, f"{each.count:,}", _size(each.bytes))
    out.print(grid)


def _size(number: int | None) -> str:
    if number is None:
        return "-"
    size, unit = float(number), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if unit == 0 else f"{size:.1f} {_UNITS[unit]}"
