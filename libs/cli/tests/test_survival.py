# pyright: reportUnknownMemberType=false
"""`kill -9` in the middle of 30 documents: all complete, each exactly once in the database."""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest

from billow.cli.stack.stack import Stack
from billow.client import Billow
from billow.schemas.record import Record
from billow.testkit.consuming import until
from samples.receipts import render_receipt

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

DOCUMENTS = 30
PATIENCE = 400
"""seconds: they are done in half a minute where nothing else runs"""


@asynccontextmanager
async def thirty_documents() -> AsyncGenerator[tuple[Stack, asyncio.Task[list[Record]]]]:
    """A running stack with 30 documents on their way, a third of them done."""
    with tempfile.TemporaryDirectory(prefix="billow-test-") as folder:
        async with Stack(Path(folder)) as stack, Billow(stack.url) as billow:
            names = [await billow.submit(render_receipt(seed)[0], source=str(seed)) for seed in range(DOCUMENTS)]
            waiting = [asyncio.create_task(billow.result(name, timeout=PATIENCE)) for name in names]
            await asyncio.wait_for(_done(waiting, DOCUMENTS // 3), PATIENCE)
            assert not all(task.done() for task in waiting), "all were done before anything was killed"
            yield stack, asyncio.create_task(_all(waiting))


async def _done(tasks: list[asyncio.Task[Record]], count: int) -> None:
    for task in asyncio.as_completed(tasks):
        await task
        count -= 1
        if count == 0:
            return


async def _all(tasks: list[asyncio.Task[Record]]) -> list[Record]:
    return list(await asyncio.gather(*tasks))


def rows(stack: Stack) -> list[tuple[str, str]]:
    with sqlite3.connect(stack.folder / "billow.db") as database:
        return database.execute("select document_id, status from records").fetchall()


async def check(stack: Stack, records: list[Record]) -> None:
    assert [record.status for record in records] == ["completed"] * DOCUMENTS
    stored = rows(stack)
    assert len(stored) == DOCUMENTS
    assert {name for name, _ in stored} == {record.document_id for record in records}
    assert {status for _, status in stored} == {"completed"}
    async with await nats.connect(stack.url) as client:
        js = client.jetstream()

        async def said() -> list[int]:
            info = await js.stream_info("DOCUMENTS", subjects_filter="documents.*.completed.*")
            return sorted((info.state.subjects or {}).values())

        async def all_said() -> bool:
            return len(await said()) == DOCUMENTS

        # Who waits hears of a record a moment before the stream has it.
        await until(all_said)
        assert await said() == [1] * DOCUMENTS
        assert (await js.stream_info("DEADLETTERS")).state.messages == 0


@pytest.mark.parametrize("victim", ["ocr", "worker-ppocr-v6-rec-small"])
async def test_killing_a_process_loses_and_doubles_nothing(victim: str) -> None:
    async with thirty_documents() as (stack, finished):
        before = stack.processes[victim].pid
        stack.processes[victim].kill()
        records = await finished
        assert stack.processes[victim].restarts == 1
        assert stack.processes[victim].pid != before
        await check(stack, records)


async def test_killing_nats_server_loses_and_doubles_nothing() -> None:
    async with thirty_documents() as (stack, finished):
        assert stack.server is not None
        pid = stack.server.pid
        await stack.server.kill()
        records = await finished
        assert stack.server.pid != pid
        await check(stack, records)
