"""`billow extract`: the main job, from files to records."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from billow.cli import render, weights
from billow.cli.paths import found_in, read
from billow.cli.settings import CliSettings
from billow.cli.stack.stack import Stack, with_defaults
from billow.client import Billow
from billow.client.sources import source_of
from billow.runtime.errors import PermanentError, TransientError, UsageError
from billow.schemas import codec
from billow.schemas.geometry import TextLine
from billow.schemas.labels import Kind
from billow.schemas.record import Failure, Record


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked for."""

    table: bool
    jobs: int
    timeout: float
    kind: Kind | None = None
    language: str | None = None
    tenant: str = "default"
    with_text: bool = False
    models: tuple[str, ...] = ()
    """Of a temporary stack, instead of the default ones of their tasks."""


class Outcome(NamedTuple):
    """One document, done."""

    record: Record
    lines: tuple[TextLine, ...]
    wall_ms: float


async def run(paths: Sequence[Path], options: Options, settings: CliSettings, out: Console, err: Console) -> bool:
    """Extract all documents and print their records in order; True if all completed.

    Raises:
        StackUnreachableError: the stack at BILLOW_NATS_URL does not answer, or none can be started.
        UsageError: there are no documents, or models were chosen for a stack that runs already or are not known.
    """
    files = found_in(paths)
    completed = True
    async with _stack_url(settings, options, err) as url, Billow(url, tenant=options.tenant) as billow:
        columns = (TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
            bar = progress.add_task("extracting", total=len(files))
            async for outcome in _in_order(billow, files, options):
                _show(outcome, options, out)
                completed &= outcome.record.status == "completed"
                progress.advance(bar)
    return completed


@contextlib.asynccontextmanager
async def _stack_url(settings: CliSettings, options: Options, err: Console) -> AsyncGenerator[str]:
    if settings.nats_url:
        if options.models:
            raise UsageError(
                f"--model is for a stack that starts now; the one at {settings.nats_url} has its models. Unset "
                "BILLOW_NATS_URL, or plug the model in there with `billow worker MODEL`"
            )
        yield settings.nats_url
        return
    models = with_defaults(options.models)
    weights.ensure(models, err)
    with tempfile.TemporaryDirectory(prefix="billow-") as folder:
        stack = Stack(Path(folder), models=models, tenant=options.tenant, log_level="warning")
        with err.status("starting a temporary stack") if err.is_terminal else contextlib.nullcontext():
            await stack.start()
        try:
            yield stack.url
        finally:
            await stack.stop()


async def _in_order(billow: Billow, files: Sequence[Path], options: Options) -> AsyncIterator[Outcome]:
    turn = asyncio.Semaphore(options.jobs)

    async def one(path: Path) -> Outcome:
        async with turn:
            return await _extract(billow, path, options)

    tasks = [asyncio.create_task(one(path)) for path in files]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _extract(billow: Billow, path: Path, options: Options) -> Outcome:
    started = time.perf_counter()
    record = await _record(billow, path, options)
    wall_ms = (time.perf_counter() - started) * 1000
    lines = await billow.text(record.document_id) if options.with_text and record.status == "completed" else ()
    return Outcome(record, lines, wall_ms)


async def _record(billow: Billow, path: Path, options: Options) -> Record:
    try:
        data = await asyncio.to_thread(read, path)
    except OSError as e:
        code = "file_not_found" if isinstance(e, FileNotFoundError) else "file_unreadable"
        return _failed(path, options, code, f"{source_of(path)}: {e.strerror or e}. Check the path.")
    try:
        return await billow.extract(
            data, source=source_of(path), kind=options.kind, language=options.language, timeout=options.timeout
        )
    except TimeoutError as e:
        return _failed(path, options, "timeout", str(e), retryable=True)
    except TransientError as e:
        return _failed(path, options, "busy", str(e), retryable=True)
    except PermanentError as e:
        return _failed(path, options, e.code, str(e))


def _failed(path: Path, options: Options, code: str, message: str, *, retryable: bool = False) -> Record:
    return Record(
        source=source_of(path),
        tenant=options.tenant,
        document_id="",
        kind=options.kind,
        status="failed",
        error=Failure(code=code, message=message, retryable=retryable, stage="submit"),
    )


def _show(outcome: Outcome, options: Options, out: Console) -> None:
    if options.table:
        out.print(render.panel(outcome.record, wall_ms=outcome.wall_ms))
        return
    line = codec.encode(outcome.record)
    if options.with_text:
        row = msgspec.json.decode(line) | {"text_lines": [text.text for text in outcome.lines]}
        line = msgspec.json.encode(row)
    out.file.write(line.decode() + "\n")
    out.file.flush()
