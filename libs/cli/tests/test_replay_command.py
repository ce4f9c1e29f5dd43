# pyright: reportUnknownMemberType=false
"""`billow replay` as an operator meets it: real services, models that label by place."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import pytest_asyncio
from rich.console import Console

from billow.bus.connection import Bus
from billow.bus.history import History
from billow.bus.outcome import latest_record
from billow.bus.publish import events, publish_event
from billow.bus.replay.book import ReplayBook
from billow.bus.topology import RUNS
from billow.cli.commands import replay, replay_runs
from billow.cli.commands.replay import Request, Shown
from billow.cli.stack.stack import Stack
from billow.client import Billow
from billow.runtime.errors import UsageError
from billow.schemas.events import Promoted
from billow.schemas.record import Record
from billow.schemas.replay import PromotionResult, ReplayReport
from billow.services.receipt.store import Store
from billow.testkit.consuming import until
from billow.testkit.events import make_recognized
from billow.testkit.models import DETECTOR, OLD, TAGGER, write_pretend_models, write_pretend_tagger

OLD_LABELS = {"0": "store_name", "1.0": "date", "5.1": "total"}
NEW_LABELS = {"0.0": "store_name", "1.0": "date", "1.1": "time", "4.2": "tax"}
ASK_NEW = (f"token-classification={TAGGER}_2-0-0",)
COUNT = 6

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

PATIENCE = 120
"""seconds"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    folder = tmp_path_factory.mktemp("replay")
    write_pretend_models(folder / "models", detect_ms=1, recognise_ms=1)
    old = write_pretend_tagger(folder / "models", OLD_LABELS)
    new = write_pretend_tagger(folder / "models", NEW_LABELS, version="2.0.0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BILLOW_MODELS", str(folder / "models"))
        async with Stack(folder / "data", models=(DETECTOR, OLD, old, new), log_level="warning") as running:
            patch.setenv("BILLOW_NATS_URL", running.url)
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(stack: Stack) -> AsyncIterator[Bus]:
    async with await Bus.connect(stack.url, name="test") as connected:
        yield connected


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(stack: Stack) -> AsyncIterator[Store]:
    store = Store.create(stack.database_url)
    yield store
    await store.close()


class Shell:
    """What commands printed, and what they answered."""

    def __init__(self) -> None:
        self.out = Console(file=io.StringIO(), width=140, color_system=None)
        self.err = Console(file=io.StringIO(), width=140, color_system=None)

    @property
    def said(self) -> str:
        assert isinstance(self.out.file, io.StringIO)
        return self.out.file.getvalue()

    @property
    def told(self) -> str:
        """Beside the output."""
        assert isinstance(self.err.file, io.StringIO)
        return self.err.file.getvalue()

    async def start(self, shown: Shown | None = None, **request: object) -> bool:
        asked = msgspec.convert({"start": "recognized", "models": ASK_NEW, **request}, Request)
        return await replay.start(asked, shown or Shown(table=False), self.out, self.err)

    def report(self) -> ReplayReport:
        return msgspec.json.decode(self.said.splitlines()[-1], type=ReplayReport)


@pytest.fixture
def shell() -> Shell:
    return Shell()


async def make_records(bus: Bus, tenant: str, count: int = COUNT) -> dict[str, Record]:
    """Documents that were recognized, and went through the services as ever."""
    names = [f"{tenant}-{number}" for number in range(count)]
    for name in names:
        # The message's id does not tell tenants apart, so names do.
        await publish_event(bus, make_recognized(name, tenant=tenant))
    return {name: await record_of(bus, tenant, name) for name in names}


async def record_of(bus: Bus, tenant: str, name: str) -> Record:
    found: list[Record] = []

    async def is_there() -> bool:
        record = await latest_record(bus, tenant, name)
        found[:] = [record] if record is not None else []
        return bool(found)

    await until(is_there, timeout=PATIENCE)
    return found[0]


async def stored_records(store: Store, tenant: str, names: list[str]) -> dict[str, Record | None]:
    return {name: await store.get(tenant, name) for name in names}


async def in_runs(bus: Bus, run_id: str, name: str = "recognized") -> list[str]:
    found = [batch async for batch in History(bus, RUNS.name).batches(f"runs.*.{run_id}.{name}.*")]
    return sorted(stored.subject for batch in found for stored in batch)


def numbers(report: ReplayReport) -> dict[str, tuple[int, int, int, int]]:
    rows = {name: (one.appeared, one.vanished, one.changed, one.same) for name, one in report.fields.items()}
    return {name: row for name, row in rows.items() if any(row)}


EXPECTED = {
    "store_name": (0, 0, COUNT, 0),
    "date": (0, 0, 0, COUNT),
    "time": (COUNT, 0, 0, 0),
    "tax": (COUNT, 0, 0, 0),
    "total": (0, COUNT, 0, 0),
    "status": (0, 0, 0, COUNT),
    "straight_through": (0, COUNT, 0, 0),
}


async def test_the_report_says_what_would_be_different_and_no_record_is_touched(
    shell: Shell, bus: Bus, store: Store, tmp_path: Path
) -> None:
    before = await make_records(bus, "verdict")
    (tmp_path / "noodles.json").write_text(json.dumps({"store_name": "Lucky Noodle House", "tax": "1.14"}))
    (tmp_path / "verdict-0.json").write_text(json.dumps({"total": "13.14"}))
    shown = Shown(truth=tmp_path, table=False)
    assert await shell.start(shown, tenant="verdict", run_id="verdict-1", price_per_hour=3600)
    report = shell.report()
    assert (report.compared, report.completed, report.failed, report.new) == (COUNT, COUNT, 0, 0)
    assert numbers(report) == EXPECTED
    example = report.fields["store_name"].examples["changed"][0]
    assert (example.before, example.after) == ("Lucky Noodle House", "Lucky")
    accuracy = {name: (one.known, one.before, one.after) for name, one in report.accuracy.items()}
    assert accuracy == {"store_name": (5, 5, 0), "tax": (5, 0, 5), "total": (1, 1, 0)}
    time = report.task_time["token-classification"]
    assert time.documents == COUNT and time.before_s > 0 and report.model_s == pytest.approx(time.after_s, abs=1e-5)
    # The text was read before: that is no cost of this run.
    assert report.cost == pytest.approx(report.model_s) and report.active_s > 0
    assert await stored_records(store, "verdict", list(before)) == before
    assert [await record_of(bus, "verdict", name) for name in before] == list(before.values())

    inputs = await in_runs(bus, "verdict-1")
    assert len(inputs) == COUNT
    again = Shell()
    assert await again.start(shown, tenant="verdict", run_id="verdict-1", price_per_hour=3600)
    assert numbers(again.report()) == EXPECTED
    assert await in_runs(bus, "verdict-1") == inputs
    kept = await ReplayBook(bus).report("verdict-1")
    assert kept is not None and numbers(kept) == EXPECTED


async def test_promoted_results_are_the_record_until_they_are_taken_back(shell: Shell, bus: Bus, store: Store) -> None:
    before = await make_records(bus, "official")
    await shell.start(tenant="official", run_id="official-1")

    async def promote(*documents: str, undo: bool = False) -> PromotionResult:
        here = Shell()
        await replay_runs.promote("official-1", documents, undo=undo, table=False, out=here.out, err=here.err)
        return msgspec.json.decode(here.said, type=PromotionResult)

    result = await promote("official-0")
    assert (result.stated, result.known, result.left_count) == (1, 0, 0)

    async def promoted(count: int) -> bool:
        records = await stored_records(store, "official", list(before))
        return sum(record is not None and record.promoted_from == "official-1" for record in records.values()) == count

    await until(lambda: promoted(1), timeout=PATIENCE)
    assert (await promote()).stated == COUNT - 1
    await until(lambda: promoted(COUNT), timeout=PATIENCE)
    records = await stored_records(store, "official", list(before))
    for name, record in records.items():
        assert record is not None and record.run_id is None
        assert {field: value.value for field, value in record.fields.items()} == {
            "store_name": "Lucky",
            "date": "2019-04-01",
            "time": "18:05",
            "tax": "1.14",
        }

        async def is_told(name: str = name, record: Record = record) -> bool:
            return await record_of(bus, "official", name) == record

        # It is stored first, and told then.
        await until(is_told, timeout=PATIENCE)
    again = await promote()
    assert (again.stated, again.known) == (0, COUNT)

    # Somebody promotes another record of one of them meanwhile.
    other = msgspec.structs.replace(before["official-3"], promoted_from="elsewhere", fields={})
    await publish_event(
        bus,
        Promoted(
            tenant="official",
            document_id="official-3",
            event_id="elsewhere-p1.official-3.1.promoted",
            occurred_at=make_recognized().occurred_at,
            promotion="elsewhere-p1",
            from_run="elsewhere",
            record=other,
        ),
    )
    undone = await promote(undo=True)
    assert (undone.stated, undone.left) == (COUNT - 1, ("official/official-3: promoted since by elsewhere-p1",))
    assert (await promote(undo=True)).stated == 0

    async def back() -> bool:
        return await stored_records(store, "official", list(before)) == {**before, "official-3": other}

    await until(back, timeout=PATIENCE)
    # What was taken back may be promoted again; it is another promotion.
    assert (await promote("official-1")).promotion == "official-1-p2"
    await until(lambda: promoted(1), timeout=PATIENCE)


async def test_into_the_record_promotes_at_the_end(shell: Shell, bus: Bus, store: Store) -> None:
    before = await make_records(bus, "into", count=2)
    await shell.start(tenant="into", run_id="into-1", into="record")

    async def promoted() -> bool:
        records = await stored_records(store, "into", list(before))
        return all(record is not None and record.promoted_from == "into-1" for record in records.values())

    await until(promoted, timeout=PATIENCE)


async def test_a_run_that_was_taken_back_stays_so_when_somebody_looks_at_it_again(shell: Shell, bus: Bus) -> None:
    await make_records(bus, "back", count=1)
    await shell.start(tenant="back", run_id="back-1", into="record")
    await replay_runs.promote("back-1", (), undo=True, table=False, out=shell.out, err=shell.err)
    again = Shell()
    assert await replay.resume("back-1", Shown(table=False), again.out, again.err)
    assert again.report().completed == 1
    assert "The records are as they were." in again.told
    found = [event.promotion async for event in events(bus, Promoted, "back", "back-0")]
    assert sorted(found) == ["back-1-p1", "back-1-u1"]


async def test_from_the_submission_everything_is_done_anew(shell: Shell, stack: Stack, bus: Bus, store: Store) -> None:
    page = cv2.imencode(".jpg", np.full((640, 480, 3), 200, np.uint8))[1].tobytes()
    async with Billow(stack.url, tenant="pages") as billow:
        for number in range(3):
            await billow.submit(page, source=f"{number}.jpg", document_id=f"page-{number}")
        before = {f"page-{number}": await billow.result(f"page-{number}", timeout=PATIENCE) for number in range(3)}
    assert await shell.start(Shown(table=False), start="submitted", tenant="pages", run_id="pages-1")
    report = shell.report()
    assert (report.compared, report.completed) == (3, 3)
    assert set(report.task_time) == {"text-detection", "text-recognition", "token-classification"}
    assert len(await in_runs(bus, "pages-1", "recognized")) == 3
    assert await stored_records(store, "pages", list(before)) == before


async def test_killed_in_between_it_goes_on_where_it_was(stack: Stack, bus: Bus) -> None:
    await make_records(bus, "killed", count=60)
    command = [sys.executable, "-m", "billow.cli", "replay"]
    request = ["--from", "recognized", "--tenant", "killed", "--run-id", "killed-1", "--rate", "4/s"]
    environ = {**os.environ, "BILLOW_NATS_URL": stack.url}
    process = await asyncio.create_subprocess_exec(
        *command, *request, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )

    async def some() -> bool:
        return len(await in_runs(bus, "killed-1", "completed")) >= 5

    try:
        await until(some, timeout=PATIENCE)
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()
    # The rest would have taken it 13 s.
    assert 5 <= len(await in_runs(bus, "killed-1")) < 60
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, "resume", "killed-1", "--format", "jsonl"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout, type=ReplayReport)
    assert (report.compared, report.completed) == (60, 60)
    inputs = await in_runs(bus, "killed-1")
    assert len(inputs) == len(set(inputs)) == 60
    assert len(await in_runs(bus, "killed-1", "completed")) == 60


async def test_tables_are_for_people(shell: Shell, bus: Bus) -> None:
    await make_records(bus, "table", count=2)
    await shell.start(Shown(table=True), tenant="table", run_id="table-1")
    for part in ("run table-1 from recognized: 2 documents", "appeared", "store_name", "Lucky Noodle House → Lucky"):
        assert part in shell.said
    listing = Shell()
    await replay_runs.list_(table=True, out=listing.out)
    await replay_runs.show("table-1", table=True, out=listing.out)
    assert "table-1" in listing.said and "finished" in listing.said and "documents/s" in listing.said


async def test_what_cannot_be_asked_for_sends_nothing(shell: Shell, bus: Bus, tmp_path: Path) -> None:
    empty = tmp_path / "ids"
    empty.write_text("# nothing\n\n")
    for asked, complaint in (
        (Request(start="recognized", models=("text-detection=pretend-det",)), "--from submitted"),
        (Request(start="recognized", models=("layout=x",)), "TASK=NAME"),
        (Request(start="recognized", since="yesterday"), "--since"),
        (Request(start="recognized", since="1d", until="2d"), "Nothing lies between"),
        (Request(start="recognized", documents=empty), "names no document"),
    ):
        request = msgspec.structs.replace(asked, run_id="never")
        with pytest.raises(UsageError, match=complaint):
            await replay.start(request, Shown(), shell.out, shell.err)
    assert await in_runs(bus, "never") == []
    with pytest.raises(UsageError, match="never promoted"):
        await replay_runs.promote("table-1", (), undo=True, table=True, out=shell.out, err=shell.err)
