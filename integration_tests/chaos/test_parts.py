"""The judge of a chaos run must see what is wrong, and the same seed must choose the same deeds."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from billow.bus.connection import Bus
from billow.bus.provision import provision
from billow.bus.publish import publish, publish_event
from billow.services.receipt.store import Store
from billow.testkit.events import make_completed, make_record, make_submitted
from billow.testkit.plugin import NatsServer
from integration_tests.chaos.mischief import Mischief
from integration_tests.chaos.verdict import judge, longest_stall

pytestmark = pytest.mark.timeout(400)

NAMES = ("good", "twice", "lost", "unstored")


async def test_the_judge_finds_what_was_lost_doubled_and_buried(nats_server: NatsServer, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    store = Store.create(url)
    await store.migrate()
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        for name in NAMES:
            await publish_event(bus, make_submitted(name))
            if name != "lost":
                await publish_event(bus, make_completed(name))
            if name != "unstored":
                await store.save(make_record(name))
        await publish_event(bus, msgspec.structs.replace(make_completed("twice"), event_id="another"))
        await publish(
            bus,
            "deadletters.default.ocr.submitted",
            b"{}",
            message_id=None,
            stream="DEADLETTERS",
            extra={"Billow-Dead-Code": "bad", "Billow-Dead-Subject": "documents.default.submitted.x"},
        )
        # What is lost does not come.
        verdict = await judge(bus, url, "default", NAMES, patience=0)
    await store.close()
    assert verdict.lost == ("lost",)
    assert verdict.stated_again == ("twice",)
    assert verdict.not_in_database == ("unstored",)
    assert verdict.unexpected_in_database == ()
    assert [letter.split(":")[0] for letter in verdict.dead_letters] == ["bad documents.default.submitted.x"]
    assert not verdict.good


async def test_the_judge_passes_what_is_whole(nats_server: NatsServer, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    store = Store.create(url)
    await store.migrate()
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        for number in range(300):
            await publish_event(bus, make_submitted(f"d-{number}"))
            await publish_event(bus, make_completed(f"d-{number}"))
            await store.save(make_record(f"d-{number}"))
        verdict = await judge(bus, url, "default", [f"d-{number}" for number in range(300)])
    await store.close()
    assert verdict.good
    assert verdict.completed == 300


@pytest.mark.parametrize(
    ("submitted", "completed", "stall"),
    [
        ([0.0], [1.5], 1.5),
        ([0.0, 0.0], [1.0, 5.0], 4.0),
        # Nothing waited between the two.
        ([0.0, 60.0], [1.0, 61.0], 1.0),
        ([0.0, 0.5], [1.0, 1.1], 1.0),
        ([], [], 0.0),
    ],
)
def test_a_stall_counts_only_while_documents_wait(submitted: list[float], completed: list[float], stall: float) -> None:
    assert longest_stall(submitted, completed) == pytest.approx(stall)


class Calm:
    """Nothing happens in it."""

    services = ("ocr-0", "ocr-1")
    workers = ("worker-0", "worker-1")
    nodes = ("hub-0", "hub-1", "hub-2")
    sites = ("site-a", "site-b")

    async def kill(self, name: str) -> None: ...

    async def start(self, name: str) -> None: ...

    async def pause(self, name: str) -> None: ...

    async def unpause(self, name: str) -> None: ...

    async def cut(self, site: str) -> None: ...

    async def join(self, site: str) -> None: ...

    async def restart_postgres(self) -> None: ...

    async def stream_leader(self, stream: str) -> str:
        return "hub-1"

    async def until_whole(self) -> None: ...


async def test_a_seed_chooses_the_same_deeds(monkeypatch: pytest.MonkeyPatch) -> None:
    pause, turn = 600.0, asyncio.sleep

    async def quick(seconds: float) -> None:
        # Turns of the event loop and no time: all that lasts is over before the next deed, on any machine.
        for _ in range(100 if seconds == pause else 1):
            await turn(0)

    monkeypatch.setattr("integration_tests.chaos.mischief.asyncio.sleep", quick)

    async def deeds(seed: int) -> list[tuple[str, str]]:
        mischief = Mischief(Calm(), seed=seed, every=pause)
        turns = iter(range(30))
        await mischief.run(lambda: next(turns, None) is None)
        return [(deed.what, deed.target) for deed in mischief.deeds]

    assert await deeds(7) == await deeds(7)
    assert await deeds(7) != await deeds(8)
    assert len({what for what, _ in await deeds(7)}) > 4
