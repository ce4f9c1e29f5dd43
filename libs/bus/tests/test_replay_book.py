"""The state of a run in its bucket: who may write it."""

from datetime import UTC, datetime

import msgspec
import pytest

from billow.bus.connection import Bus
from billow.bus.replay.book import ReplayBook, TakenOverError
from billow.schemas.replay import ReplaySpec
from billow.testkit.plugin import NatsServer

NOW = datetime.now(UTC)
SPEC = ReplaySpec(run_id="r1", start="recognized", until=NOW, created_at=NOW, created_by="ada@vm")


async def test_a_write_of_which_the_answer_was_lost_is_no_takeover(nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        book = ReplayBook(bus)
        await book.open()
        run = await book.begin(SPEC, "driver-a")
        await book.write(run, msgspec.structs.replace(run.state, sent=1))
        # Its driver never heard of that one, and writes again with the version it knows.
        written = await book.write(run, msgspec.structs.replace(run.state, sent=2))
        assert (written.state.sent, (await book.get("r1")).state.sent) == (2, 2)
        assert (await book.write(written, msgspec.structs.replace(run.state, sent=3))).state.sent == 3


@pytest.mark.parametrize("sent", [1, 2])
async def test_the_last_write_of_a_driver_is_no_takeover_either(nats_server: NatsServer, sent: int) -> None:
    """The server stored a write before it, or that very write, and could not say so."""
    async with await Bus.connect(nats_server.url, name="test") as bus:
        book = ReplayBook(bus)
        await book.open()
        run = await book.begin(SPEC, "driver-a")
        last = msgspec.structs.replace(run.state, sent=2, status="finished", driver="")
        lost = last if sent == 2 else msgspec.structs.replace(run.state, sent=1)
        await book.write(run, lost, driver="driver-a")
        assert (await book.write(run, last, driver="driver-a")).state == last == (await book.get("r1")).state


async def test_who_ends_a_run_for_a_driver_that_lives_after_all_writes_nothing(nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        book = ReplayBook(bus)
        await book.open()
        run = await book.begin(SPEC, "driver-a")
        await book.write(run, msgspec.structs.replace(run.state, sent=1))
        with pytest.raises(TakenOverError):
            await book.write(run, msgspec.structs.replace(run.state, status="cancelled", driver=""))
        assert (await book.get("r1")).state.status == "running"


@pytest.mark.parametrize("other", [{"driver": "driver-b"}, {"status": "cancelled"}])
async def test_who_was_taken_over_writes_nothing(nats_server: NatsServer, other: dict[str, str]) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        book = ReplayBook(bus)
        await book.open()
        run = await book.begin(SPEC, "driver-a")
        await book.write(run, msgspec.structs.replace(run.state, **other))
        with pytest.raises(TakenOverError, match="another command"):
            await book.write(run, msgspec.structs.replace(run.state, sent=2))
        assert (await book.get("r1")).state.sent == 0
