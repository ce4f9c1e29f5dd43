"""A plan as people read it: signs, colours, and units in place of the server's nanoseconds and bytes."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from billow.bus.planning.plan import Change, Plan

_SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "recreate": ("±", "magenta"), "delete": ("-", "red")}
_TIMES = {"max_age", "ack_wait", "duplicate_window"}
_SECOND = 1_000_000_000
_UNITS = ((86_400 * _SECOND, "d"), (3_600 * _SECOND, "h"), (60 * _SECOND, "min"), (_SECOND, "s"))
_SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def change_lines(change: Change) -> Iterator[Text]:
    """One line that names it, one a field, and what it destroys."""
    sign, colour = _SIGNS[change.action]
    where = f" of {change.stream}" if change.kind == "consumer" else ""
    yield Text(f"{sign} {change.action} {change.kind} {change.name}{where}", style=f"bold {colour}")
    width = max((len(each.field) for each in change.fields), default=0)
    for each in change.fields:
        line = Text(f"    {each.field:{width}}  ")
        if change.action != "create":
            line.append(readable(each.field, each.old), style="red")
            line.append(" -> ")
        line.append(readable(each.field, each.new), style="green")
        yield line
    if change.destroys:
        yield Text(f"    ! {change.destroys}", style="bold red")


def summary(plan: Plan) -> Text:
    """How many changes of which kind."""
    if not plan.changes:
        return Text("The server has what is declared.", style="green")
    counts = Counter(change.action for change in plan.changes)
    parts = ", ".join(f"{counts[action]} to {action}" for action in _SIGNS if counts[action])
    text = Text(f"{parts}. ")
    if plan.destructive:
        text.append(f"{len(plan.destructive)} would destroy something: --allow-destructive.", style="bold red")
    return text


def readable(field: str, value: Any) -> str:
    """A value of the server's, in units."""
    if value is None or value == "":
        return "unset"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return _number(field, value)
    if isinstance(value, list):
        return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return str(value)


def _number(field: str, value: int) -> str:
    if field in _TIMES:
        return "for ever" if value == 0 else _in_units(value, _UNITS, "ns")
    if value < 0:
        return "no limit"
    return _in_units(value, _SIZES, "B") if field == "max_bytes" else f"{value:,}"


def _in_units(value: int, units: tuple[tuple[int, str], ...], rest: str) -> str:
    for size, name in units:
        if value >= size:
            return f"{value / size:,.4g} {name}"
    return f"{value:,} {rest}"
