"""`billow rebuild`: the database made anew from the stream, and compared with the one in use."""

from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from billow.cli.hub import connect
from billow.cli.moments import moment
from billow.cli.settings import CliSettings
from billow.runtime.errors import UsageError
from billow.runtime.settings import load
from billow.schemas import codec
from billow.services.receipt.exchange import exchange
from billow.services.receipt.places import Place, beside, clear
from billow.services.receipt.proof import Proof, Report
from billow.services.receipt.settings import ReceiptSettings


class Options(NamedTuple):
    """What was asked for on the command line."""

    into: str = ""
    """URL of an empty database; empty builds beside the old one"""
    compare: str = ""
    """URL of the old one; empty for BILLOW_DATABASE_URL, or that of `billow up`"""
    replace: bool = False
    keep_older: bool = False
    drop_older: bool = False
    force: bool = False
    since: str = ""
    """how long ago or when; empty for all"""


def database_url(given: str) -> str:
    """The one that was named, else that of the receipt service, else that of `billow up` on this machine."""
    if given:
        return given
    configured = load(ReceiptSettings).database_url
    if configured != ReceiptSettings().database_url:
        return configured
    return f"sqlite+aiosqlite:///{CliSettings.from_environment().data_folder() / 'billow.db'}"


async def run(options: Options, *, table: bool, out: Console, err: Console) -> bool:
    """Rebuild, compare, replace if asked, and say what that proves; True if the two are proven equal.

    Raises:
        StackUnreachableError, TransientError, UsageError: see `Proof` and `exchange`.
    """
    if options.replace and options.into:
        raise UsageError("--replace puts right the database in use: leave out --database-url")
    since = moment(options.since, "--since", datetime.now(UTC)) if options.since else None
    old = Place(database_url(options.compare))
    async with old.opened():  # Nothing connects yet: a URL that cannot be used is said before anything is done.
        target = Place(options.into) if options.into else beside(old)
    async with target.opened():
        pass
    is_there = await old.has_records()
    if is_there:
        await old.migrate()
    async with await connect("rebuild") as bus:
        if not options.into:
            await clear(target)
        proof = Proof(bus, target, old if is_there else None, since=since)
        with _progress(err) as bar:
            task = bar.add_task("connected", total=None)

            def tell(step: str, done: int, whole: int) -> None:
                bar.update(task, description=step, completed=done, total=whole)

            report = await proof.run(tell)
    refusal = _refusal(options, report) if options.replace else ""
    if options.replace and not refusal:
        if not is_there:
            await old.migrate()
        await exchange(
            old, target, started=proof.started, window=report.since, keep_older=options.keep_older or not is_there
        )
        await clear(target)
        report.replaced = True
    if table:
        _show(report, str(old), out)
    else:
        proven = {"proven": report.proven}
        out.file.write(codec.encode(msgspec.to_builtins(report) | proven).decode() + "\n")
    if refusal:
        err.print(Text(refusal, style="red"))
    return (report.proven or report.replaced) and not refusal


def _progress(err: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


def _refusal(options: Options, report: Report) -> str:
    """Why nothing is replaced; empty if it may be."""
    if report.older and not (options.keep_older or options.drop_older):
        return (
            f"Nothing was replaced: {report.older:,} rows are older than the stream, which cannot bring them back. "
            "Keep them with --keep-older, or give them up with --drop-older."
        )
    if options.since and not options.keep_older:
        return "Nothing was replaced: with --since all that is older would go. Say --keep-older too."
    if report.compared_with and not report.proven and not options.force:
        return (
            "Nothing was replaced: the two are not equal, and either may be wrong. Look at the rows named here, then "
            "say --force to take what the stream tells."
        )
    return ""


def _show(report: Report, old: str, out: Console) -> None:
    since = f"since {report.since:%Y-%m-%d %H:%M:%S} UTC" if report.since else "which is empty"
    rate = report.outcomes / report.rebuild_seconds if report.rebuild_seconds else 0
    out.print(
        Text(
            f"{report.records:,} records from {report.outcomes:,} outcomes and {report.erasures:,} erasures of the "
            f"stream, {since}, in {report.rebuild_seconds:.1f} s ({rate:,.0f} a second)"
        )
    )
    if report.compared_with:
        out.print(
            Text(
                f"equal {report.equal:,}, different {report.different:,}, only in the old database "
                f"{report.only_old:,}, only in the stream {report.only_stream:,}",
                style="green" if report.proven else "red",
            )
        )
    for difference in report.differences:
        columns = f": {', '.join(difference.columns)}" if difference.columns else ""
        revision = f" revision {difference.revision}" if difference.revision > 1 else ""
        line = f"  {difference.kind}: {difference.tenant}/{difference.document_id}{revision}{columns}"
        out.print(Text(line), soft_wrap=True)
    notes = (
        (report.older, "rows are older than the stream, which says nothing of them"),
        (report.waiting, "documents are on their way: submitted, and no outcome yet"),
        (report.looked_again, "rows differed at first and were looked at again"),
        (report.of_runs, "rows of replays are no records and were left out"),
        (report.unreadable, "outcomes cannot be read, so nothing is proven about their documents"),
    )
    for count, what in notes:
        if count:
            out.print(Text(f"{count:,} {what}"))
    out.print(Text(_verdict(report, old)), soft_wrap=True)


def _verdict(report: Report, old: str) -> str:
    if report.replaced:
        done = f"{old} now holds what the stream tells"
        return f"{done}." if report.compared_with else f"{done}. It was lost, so there was nothing to compare it with."
    if not report.compared_with:
        return (
            f"{report.built} holds what the stream tells. Not proven: {old} has no records to compare it with, and "
            "what was older than the stream is gone. Put it in place with --replace."
        )
    if report.proven:
        return (
            f"Proven: over this time {old} holds what the stream tells, row by row. Not compared: ids, and when a row "
            "was created and changed, of which the stream knows only when its outcome was told."
        )
    return f"Not proven: see above. What the stream tells is in {report.built}."
