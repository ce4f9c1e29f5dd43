"""Two workers that call different models by one name, on a real server."""

import contextlib
import time
from collections.abc import AsyncGenerator

import msgspec
import pytest

from billow.bus import namesakes
from billow.bus.connection import Bus
from billow.bus.namesakes import find_other_digest
from billow.bus.presence import Announcer
from billow.schemas.presence import ModelPresence
from billow.testkit.events import MOMENT

HERE = ModelPresence(
    model="fake_1-0-0",
    worker="w1",
    task="text-detection",
    version="1.0.0",
    digest="ab" * 32,
    host="here",
    started_at=MOMENT,
)
LONG = 60.0
"""seconds that an answer may take, where one is to come; here it may take more than in production"""


@contextlib.asynccontextmanager
async def announced(bus: Bus, presence: ModelPresence) -> AsyncGenerator[None]:
    announcer = Announcer(bus, lambda: presence)
    await announcer.start()
    try:
        yield
    finally:
        await announcer.stop()


async def test_the_host_of_one_that_differs_is_named(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namesakes, "_SECONDS", LONG)
    async with announced(bus, HERE):
        assert await find_other_digest(bus, HERE.model, "cd" * 32) == "here"
        assert await find_other_digest(bus, HERE.model, HERE.digest) is None
        assert await find_other_digest(bus, "fake_2-0-0", "cd" * 32) is None
    assert await find_other_digest(bus, HERE.model, "cd" * 32) is None, "it is gone"


async def test_one_that_does_not_say_is_passed_over(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = msgspec.structs.replace(HERE, worker="w0", host="there", digest="")
    async with announced(bus, silent):
        assert await find_other_digest(bus, HERE.model, "cd" * 32) is None
        monkeypatch.setattr(namesakes, "_SECONDS", LONG)
        async with announced(bus, HERE):
            assert await find_other_digest(bus, HERE.model, "cd" * 32) == "here"


async def test_where_nobody_is_it_takes_no_time(bus: Bus) -> None:
    took: list[float] = []
    for _ in range(5):
        started = time.monotonic()
        assert await find_other_digest(bus, HERE.model, HERE.digest) is None
        took.append(time.monotonic() - started)
    assert min(took) < 0.5, "it does not wait out the second that an answer may take"
