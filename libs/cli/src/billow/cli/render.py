"""A record as people like to read it."""

from collections.abc import Iterable

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from billow.schemas.labels import FIELD_NAMES, ITEM_KEYS
from billow.schemas.record import Item, Record

_STATUS_STYLE = {"completed": "green", "failed": "red", "cancelled": "yellow"}
_WALL_STAGES = ("ocr", "layout", "receipt")


def panel(record: Record, *, wall_ms: float | None = None) -> Panel:
    """All of one record: fields, items, taxes, checks and where the time went."""
    parts: list[RenderableType] = []
    if record.error is not None:
        parts.append(Text(f"{record.error.code}: {record.error.message}", style="red"))
    if record.fields:
        parts.append(_fields(record))
    if record.items:
        parts.append(_items(record.items))
    if record.taxes:
        rows = [f"{_percent(tax.rate)} {'' if tax.amount is msgspec.UNSET else tax.amount}" for tax in record.taxes]
        parts.append(Text("taxes   " + "   ".join(row.strip() for row in rows)))
    if record.checks:
        parts.append(_checks(record))
    if record.timings_ms:
        parts.append(Text(_timings(record, wall_ms), style="dim"))
    if not parts:
        parts.append(Text("nothing found on it", style="dim"))
    spaced = [part for each in parts for part in (each, Text())][:-1]
    details = ", ".join(filter(None, (record.kind, record.language, _pages(record))))
    title = f"[bold]{escape(record.source or record.document_id)}[/]  {details}"
    subtitle = f"[{_STATUS_STYLE[record.status]}]{record.status}[/]"
    if record.status == "completed":
        subtitle += "  straight through" if record.straight_through else "  a person should look"
    return Panel(Group(*spaced), title=title, subtitle=subtitle, title_align="left", subtitle_align="left")


def _fields(record: Record) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("field", style="cyan", no_wrap=True)
    table.add_column("value", style="bold")
    table.add_column("as printed", style="dim")
    table.add_column("sure", justify="right")
    for name in FIELD_NAMES:
        if field := record.fields.get(name):
            printed = field.text if field.text != field.value else ""
            table.add_row(name, escape(field.value), escape(printed), f"{field.confidence:.0%}")
    return table


def _items(items: Iterable[Item]) -> Table:
    rows = [msgspec.to_builtins(item) for item in items]
    keys = [key for key in ITEM_KEYS if any(key in row for row in rows)]
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for key in keys:
        table.add_column(key, justify="left" if key in {"name", "code"} else "right")
    for row in rows:
        table.add_row(*(escape(str(row.get(key, ""))) for key in keys))
    return table


def _checks(record: Record) -> Text:
    lines: list[Text] = []
    for check in record.checks:
        if check.passed is not None:
            mark, style = ("✓", "green") if check.passed else ("✗", "red")
            line = Text(f"{mark} {check.name.replace('_', ' ')}", style=style)
            lines.append(line.append(f"  {check.detail}", style="dim"))
    return Text("\n").join(lines)


def _timings(record: Record, wall_ms: float | None) -> str:
    stages = [
        f"{stage} {ms:.0f}"
        for stage, ms in record.timings_ms.items()
        if stage not in {"total", "engines", *_WALL_STAGES} and ms >= 0.5
    ]
    line = "ms: " + " · ".join(stages)
    if "total" in record.timings_ms:
        line += f" · total {record.timings_ms['total']:.0f}"
    if wall_ms is not None:
        line += f" · seen from here {wall_ms:.0f}"
    return line


def _percent(rate: object) -> str:
    return "" if rate is msgspec.UNSET else f"{float(str(rate)) * 100:g} %"


def _pages(record: Record) -> str:
    count = len(record.pages)
    return "" if count == 0 else f"{count} page{'s' if count > 1 else ''}"
