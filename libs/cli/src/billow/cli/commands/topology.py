"""`billow topology plan | apply`: what would change at the server, shown before it is made."""

import sys
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.prompt import Confirm
from rich.text import Text

from billow.bus.planning.apply import apply_changes, refuse_destructive
from billow.bus.planning.configs import Site
from billow.bus.planning.plan import Change, Plan, make_plan
from billow.cli.commands.topology_view import change_lines, summary
from billow.cli.hub import connect
from billow.runtime.errors import UsageError


async def plan(site: Site, *, check: bool, table: bool, out: Console) -> bool:
    """Show what `apply` would do. False if `check` and it would do something.

    Raises:
        StackUnreachableError: NATS does not answer.
    """
    async with await connect("topology") as bus:
        found = await make_plan(bus, site)
    if table:
        show(found, out)
    else:
        for change in found.changes:
            sys.stdout.write(msgspec.json.encode(change).decode() + "\n")
    return not (check and found.changes)


async def apply(site: Site, *, allow_destructive: bool, sure: bool, out: Console, err: Console) -> None:
    """Show the changes and make them, after a yes of the person at the terminal or `sure`.

    Raises:
        UsageError: nobody said yes, or a change destroys something and that was not allowed; nothing was changed.
        StackUnreachableError: NATS does not answer.
    """
    async with await connect("topology") as bus:
        found = await make_plan(bus, site)
        show(found, out)
        if not found.changes:
            return
        if not allow_destructive:
            # Before anybody is asked.
            refuse_destructive(found.changes)
        if not (sure or _agrees(found.changes, err)):
            raise UsageError("Nothing was changed.")
        await apply_changes(
            bus,
            found.changes,
            allow_destructive=allow_destructive,
            progress=lambda change: err.print(Text(f"{change.action} {change.kind} {change.name}: done", style="dim")),
        )
        left = (await make_plan(bus, site)).changes
    if left:
        names = ", ".join(change.name for change in left)
        raise UsageError(f"The server did not take all of it, or somebody else changed it meanwhile: {names}.")
    out.print(Text("The server has what is declared.", style="green"))


def show(found: Plan, out: Console) -> None:
    """The plan, for people."""
    for change in found.changes:
        for line in change_lines(change):
            out.print(line, soft_wrap=True)
    if found.foreign:
        out.print(Text(f"Not ours, left alone: {', '.join(found.foreign)}", style="dim"), soft_wrap=True)
    out.print(summary(found))


def _agrees(changes: Sequence[Change], err: Console) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("Nothing was changed. Say --yes to apply this without being asked.")
    return Confirm.ask(f"Make {len(changes)} change{'' if len(changes) == 1 else 's'}?", console=err, default=False)
