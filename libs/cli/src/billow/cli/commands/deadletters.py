"""`billow deadletters`: look at what could not be processed, send it again, take it away."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from billow.bus.connection import Bus
from billow.bus.deadletter_shelf import Letter, Query, Recorded, letters, read_letter, remove
from billow.bus.redrive import Redriven, redrive
from billow.cli.commands import deadletters_view as view
from billow.cli.counts import counted
from billow.cli.hub import connect
from billow.runtime.errors import TransientError, UsageError
from billow.runtime.tasks import end_tasks

T = TypeVar("T")

_AT_ONCE = 16
_ATTEMPTS = 5
_SHOWN = 20
"""Letters of a dry run that a person sees."""


class Selection(NamedTuple):
    """Which letters: these, or else those of the query, the oldest first."""

    sequences: Sequence[int]
    query: Query
    limit: int | None = None


class _Result(msgspec.Struct, frozen=True):
    sequence: int
    outcome: str
    reason: str


async def list_letters(query: Query, limit: int, table: bool, out: Console) -> None:
    """Print the newest letters of the query; `limit` 0 for all.

    Raises:
        StackUnreachableError, TransientError: NATS does not answer.
    """
    shown: list[Letter] = []
    # One more for a person, to tell whether there are more.
    most = (limit + 1 if table else limit) if limit else None
    async with await connect("deadletters") as bus:
        async for letter in _limited(letters(bus, query), most):
            if table:
                shown.append(letter)
            else:
                out.file.write(view.line(letter))
    if table:
        out.print(view.table(shown[: limit or None], width=out.width) if shown else "No dead letters.")
        if limit and len(shown) > limit:
            out.print(Text(f"These are the newest {limit:,}; --limit 0 shows all.", style="dim"))


async def show(sequence: int, raw: bool, table: bool, out: Console, err: Console) -> bool:
    """Print one letter, or its payload alone; False if there is none of that number.

    Raises:
        StackUnreachableError, TransientError: NATS does not answer.
    """
    async with await connect("deadletters") as bus:
        whole = await read_letter(bus, sequence)
    if whole is None:
        err.print(Text(f"There is no dead letter {sequence}, or not any more.", style="red"))
        return False
    if raw:
        sys.stdout.buffer.write(whole.payload)
    elif table:
        out.print(view.whole(whole))
    else:
        out.file.write(view.whole_line(whole))
    return True


async def redrive_letters(chosen: Selection, dry_run: bool, table: bool, out: Console, err: Console) -> bool:
    """Send letters again and print what became of each; True if none was refused.

    Raises:
        StackUnreachableError, TransientError: NATS does not answer, or a queue stays full. What was not sent stays.
    """
    refused: list[_Result] = []
    outcomes: Counter[str] = Counter()

    def tell(sequence: int, done: Redriven) -> None:
        outcomes[done.outcome] += 1
        result = _Result(sequence, done.outcome, done.reason)
        if not table:
            out.file.write(msgspec.json.encode(result).decode() + "\n")
        elif done.outcome in ("refused", "gone"):
            refused.append(result)

    async with await connect("deadletters") as bus:
        if dry_run:
            await _rehearse(bus, chosen, table, out)
            return True
        sequences = [letter.sequence async for letter in _chosen(bus, chosen)]
        sequences += sorted(set(chosen.sequences) - set(sequences))
        try:
            await _each(sequences, lambda sequence: _patiently(lambda: redrive(bus, sequence)), tell, "sending", err)
        except TransientError as e:
            left = len(sequences) - outcomes.total()
            raise TransientError(f"{e} {left:,} of {len(sequences):,} letters are left; run it again.") from e
    if table:
        view.show_outcomes(outcomes, [(result.sequence, result.reason) for result in refused], out)
    return not outcomes["refused"] and not (chosen.sequences and outcomes["gone"])


async def _rehearse(bus: Bus, chosen: Selection, table: bool, out: Console) -> None:
    shown: list[Letter] = []
    count = 0
    async for letter in _chosen(bus, chosen):
        count += 1
        if not table:
            out.file.write(view.line(letter))
        elif count <= _SHOWN:
            shown.append(letter)
    if table:
        if shown:
            out.print(view.table(shown, width=out.width))
        out.print(f"{counted(count, 'letter')} would be sent again.")


async def purge(chosen: Selection, yes: bool, out: Console, err: Console) -> bool:
    """Take letters away and print how many; without `yes` only how many it would be.

    Raises:
        StackUnreachableError, TransientError: NATS does not answer.
        UsageError: not said `yes`.
    """
    async with await connect("deadletters") as bus:
        recorded = await Recorded.read(bus)
        sequences: list[int] = []
        codes: Counter[str] = Counter()
        kept = 0
        async for letter in _chosen(bus, chosen):
            if recorded(letter):
                sequences.append(letter.sequence)
                codes[letter.code] += 1
            else:
                kept += 1
        for code, count in codes.most_common():
            out.print(Text(f"{count:>9,}  {code}"))
        if kept:
            err.print(f"{kept:,} letters stay: the receipt service has not recorded their failures yet. Is it running?")
        if not yes and sequences:
            raise UsageError(f"Nothing was purged. Say --yes to purge {counted(len(sequences), 'letter')} for good.")
        gone: list[bool] = []
        await _each(
            sequences, lambda sequence: remove(bus, sequence), lambda _, done: gone.append(done), "purging", err
        )
    out.print(f"{counted(sum(gone), 'letter')} purged.")
    return not kept


async def _chosen(bus: Bus, chosen: Selection) -> AsyncGenerator[Letter]:
    if chosen.sequences:
        for sequence in sorted(set(chosen.sequences)):
            if (whole := await read_letter(bus, sequence)) is not None:
                yield whole.letter
        return
    async for letter in _limited(letters(bus, chosen.query, newest_first=False), chosen.limit):
        yield letter


async def _limited(some: AsyncGenerator[Letter], limit: int | None) -> AsyncGenerator[Letter]:
    count = 0
    try:
        async for letter in some:
            yield letter
            count += 1
            if count == limit:
                return
    finally:
        await some.aclose()


async def _each(
    sequences: Sequence[int],
    work: Callable[[int], Awaitable[T]],
    tell: Callable[[int, T], None],
    what: str,
    err: Console,
) -> None:
    """Do `work` for each letter, some at once, in about their order; a bar shows how far it is."""
    waiting = iter(sequences)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

    async def some() -> None:
        for sequence in waiting:
            tell(sequence, await work(sequence))
            bar.advance(task)

    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task(what, total=len(sequences))
        tasks = [asyncio.create_task(some()) for _ in range(min(_AT_ONCE, len(sequences)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            await end_tasks(tasks)


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Again where a queue is full, as others take from it meanwhile."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return await work()
        except TransientError as e:
            await asyncio.sleep(min(e.delay, 2.0))
    return await work()
