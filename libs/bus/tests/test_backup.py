# pyright: reportUnknownMemberType=false
"""Streams in a folder and back, on real servers whose store is gone in between."""

import asyncio
import hashlib
import os
import resource
import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from nats.js.api import ConsumerInfo

from billow.bus.backup import REMADE, BackupError, Book, read_book, restore, take
from billow.bus.backup.book import FILE, write_book
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.images import ImageStore
from billow.bus.planning.plan import make_plan
from billow.bus.planning.server import Server
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.bus.tenants import TenantPolicy, policy, set_policy
from billow.bus.topology import BUCKETS, DOCUMENTS, STREAMS
from billow.runtime.errors import UsageError
from billow.testkit.cluster import NODES, Hub, provision_hub
from billow.testkit.consuming import until
from billow.testkit.events import make_completed, make_recognized, make_submitted
from billow.testkit.workstation import DOMAIN

TENANT = make_submitted().tenant
PHOTO = os.urandom(3_000_000)
DOCUMENTS_HELD = 40
SETTLED, LATER = 7, 12
"""Of the documents, how many the OCR service has settled without a gap, and one beyond."""
BACKLOG = 300
KEPT = {spec.name for spec in STREAMS} | {spec.stream for spec in BUCKETS} | {f"OBJ_IMAGES_{TENANT}"}


@pytest_asyncio.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[Bus]:
    """Another server, with nothing in it."""
    async with (
        await EmbeddedServer.start(tmp_path / "fresh-store") as server,
        await Bus.connect(server.url, name="fresh") as bus,
    ):
        yield bus


async def fill(bus: Bus) -> None:
    """Documents, one original of several chunks, a policy, and a service that is half-way."""
    images = ImageStore(bus.client, bus.domain)
    await images.ensure_bucket(TENANT)
    await images.put(TENANT, "doc-0/original", PHOTO)
    for number in range(DOCUMENTS_HELD):
        await publish_event(bus, make_submitted(f"doc-{number}"))
    await publish_event(bus, make_recognized("doc-0"))
    await publish_event(bus, make_completed("doc-0"))
    await bus.js.publish("deadletters.default.ocr.submitted", b"what died", headers={"Billow-Dead-Reason": "a test"})
    await set_policy(bus, TENANT, TenantPolicy(rate=5.0))
    # A hole, as an erasure leaves one, and one at the end.
    await bus.js.delete_msg("DOCUMENTS", 3)
    await bus.js.delete_msg("DOCUMENTS", DOCUMENTS_HELD + 2)
    held = await pulled(bus, DOCUMENTS_HELD)
    for message in held:
        if message.metadata.sequence.stream <= SETTLED or message.metadata.sequence.stream == LATER:
            await message.ack_sync(timeout=10)


async def pulled(bus: Bus, most: int) -> list[Msg]:
    """What the OCR service's consumer hands out, until it has handed out all."""
    subscription = await bus.js.pull_subscribe_bind("ocr", "DOCUMENTS")
    before, found = handed_out(await bus.js.consumer_info("DOCUMENTS", "ocr")), list[Msg]()
    while len(found) < most:
        try:
            found += await subscription.fetch(most - len(found), timeout=1)
        except TimeoutError:
            # A machine that stood still meanwhile is no end.
            info = await bus.js.consumer_info("DOCUMENTS", "ocr")
            if not info.num_pending and handed_out(info) - before <= len(found):
                break
    await subscription.unsubscribe()
    return found


def handed_out(consumer: ConsumerInfo) -> int:
    """Messages that a consumer ever handed out."""
    return consumer.delivered.consumer_seq if consumer.delivered else 0


async def messages(bus: Bus) -> dict[str, Any]:
    """Every message of the streams that are kept, with its headers and its time; and their holes."""
    server, found = Server(bus), dict[str, Any]()
    for name in sorted(KEPT - REMADE):
        state = (await server.ask(f"STREAM.INFO.{name}"))["state"]
        found[name] = {"last": state["last_seq"], "count": state["messages"]}
        for sequence in range(max(1, state["first_seq"]), state["last_seq"] + 1):
            answer = await server.find(f"STREAM.MSG.GET.{name}", {"seq": sequence})
            found[name][sequence] = None if answer is None else answer["message"]
    return found


async def configurations(bus: Bus) -> dict[str, Any]:
    """Streams and consumers, without where a consumer began and what the server adds."""
    server, found = Server(bus), dict[str, Any]()
    for each in await server.streams():
        name = each["config"]["name"]
        if name in REMADE:
            continue
        found[name] = own(each["config"])
        for consumer in await server.consumers(name):
            config = own(consumer["config"])
            found[f"{name} > {consumer['name']}"] = {
                key: value for key, value in config.items() if key not in {"deliver_policy", "opt_start_seq"}
            }
    return found


def own(config: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in config.get("metadata", {}).items() if not key.startswith("_nats")}
    return config | {"metadata": metadata}


async def test_everything_comes_back_and_work_goes_on_where_it_was(bus: Bus, fresh: Bus, tmp_path: Path) -> None:
    await fill(bus)
    before, configured = await messages(bus), await configurations(bus)
    heard: dict[str, int] = {}
    book = await take(bus, tmp_path / "backup", lambda stream, size: heard.update({stream: size}))

    assert {entry.name for entry in book.streams} == KEPT - REMADE
    # Images after the events that speak of them.
    assert (book.streams[0].name, book.streams[-1].name) == ("DOCUMENTS", f"OBJ_IMAGES_{TENANT}")
    assert heard == {entry.name: entry.size for entry in book.streams}
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700

    done = {each.name: each for each in await restore(fresh, tmp_path / "backup")}
    assert await messages(fresh) == before
    assert await configurations(fresh) == configured
    assert await ImageStore(fresh.client).get(TENANT, "doc-0/original") == PHOTO
    assert (await policy(fresh, TENANT)).rate == 5.0
    assert done["DOCUMENTS"].expired == 0 and done["DOCUMENTS"].consumers == 6
    # The rest of the topology is made when the first service starts, and nothing of what is there is wrong.
    await provision(fresh)
    assert (await make_plan(fresh)).changes == ()
    handed = [message.metadata.sequence.stream for message in await pulled(fresh, 100)]
    assert handed == list(range(SETTLED + 1, DOCUMENTS_HELD + 1))


async def test_nothing_counts_as_done_whose_outcome_came_too_late_for_the_copy(
    bus: Bus, fresh: Bus, tmp_path: Path
) -> None:
    """A service with a backlog, and a backend, work on while the backup is taken, from its first moment to its last."""
    for number in range(BACKLOG):
        await publish_event(bus, make_submitted(f"doc-{number}"))
    subscription = await bus.js.pull_subscribe_bind("ocr", "DOCUMENTS")
    over = asyncio.Event()
    handled: list[str] = []

    async def work() -> None:
        while not over.is_set():
            await publish_event(bus, make_submitted(f"doc-{BACKLOG + len(handled)}"))
            (message,) = await subscription.fetch(1, timeout=30)
            await publish_event(bus, make_recognized(of(message.subject)))
            await message.ack_sync(timeout=10)
            handled.append(of(message.subject))

    working = asyncio.create_task(work())
    await until(lambda: len(handled) > 20)
    await take(bus, tmp_path / "backup")
    # However slow the service was meanwhile: this one was done after it was copied.
    during = len(handled)
    await until(lambda: len(handled) > during)
    over.set()
    await working
    await restore(fresh, tmp_path / "backup")
    submitted, recognized = await stored(fresh, "submitted"), await stored(fresh, "recognized")
    again = {of(message.subject) for message in await pulled(fresh, len(submitted))}
    assert len(submitted) > BACKLOG
    # Some were done after they were copied, and without their outcome.
    assert again & set(handled)
    assert submitted == recognized | again


def of(subject: str) -> str:
    """The document that it is about."""
    return subject.rpartition(".")[2]


async def stored(bus: Bus, event: str) -> set[str]:
    """Documents of which the stream has this event."""
    found = await Server(bus).ask("STREAM.INFO.DOCUMENTS", {"subjects_filter": f"documents.*.{event}.*"})
    return {of(str(subject)) for subject in found["state"]["subjects"]}


async def test_a_damaged_file_is_found_before_anything_is_changed(bus: Bus, fresh: Bus, tmp_path: Path) -> None:
    await fill(bus)
    folder = tmp_path / "backup"
    await take(bus, folder)
    whole = (folder / "DOCUMENTS.snapshot").read_bytes()
    middle = len(whole) // 2
    for bad in (whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], whole[:-10], None):
        (folder / "DOCUMENTS.snapshot").unlink()
        if bad is not None:
            (folder / "DOCUMENTS.snapshot").write_bytes(bad)
        with pytest.raises(BackupError, match=r"DOCUMENTS\.snapshot"):
            await restore(fresh, folder)
        assert await Server(fresh).streams() == []
        (folder / "DOCUMENTS.snapshot").write_bytes(whole)
    # The others are still good.
    (folder / "DOCUMENTS.snapshot").write_bytes(b"")
    done = await restore(fresh, folder, streams=[f"OBJ_IMAGES_{TENANT}"])
    assert [each.name for each in done] == [f"OBJ_IMAGES_{TENANT}"]
    assert await ImageStore(fresh.client).get(TENANT, "doc-0/original") == PHOTO


async def test_what_the_server_cannot_use_leaves_no_half_of_a_stream(bus: Bus, fresh: Bus, tmp_path: Path) -> None:
    await fill(bus)
    folder = tmp_path / "backup"
    book = await take(bus, folder)
    # Cut before its checksum was written: only the server can tell.
    name = f"OBJ_IMAGES_{TENANT}"
    cut = (folder / f"{name}.snapshot").read_bytes()[:2_000_000]
    (folder / f"{name}.snapshot").write_bytes(cut)
    entries = [
        msgspec.structs.replace(each, size=len(cut), sha256=hashlib.sha256(cut).hexdigest())
        if each.name == name
        else each
        for each in book.streams
    ]
    await asyncio.to_thread(write_book, folder, msgspec.structs.replace(book, streams=tuple(entries)))
    with pytest.raises(BackupError, match=name):
        await restore(fresh, folder, streams=[name])
    assert await Server(fresh).stream(name) is None


async def test_streams_that_hold_something_are_replaced_only_when_asked(bus: Bus, fresh: Bus, tmp_path: Path) -> None:
    await fill(bus)
    await take(bus, tmp_path / "backup")
    # A service was here first and made all streams; that is no reason to refuse.
    await provision(fresh)
    await restore(fresh, tmp_path / "backup")
    await publish_event(fresh, make_submitted("later"))
    held = await messages(fresh)
    with pytest.raises(UsageError, match=r"DOCUMENTS \(41 messages\).*--overwrite"):
        await restore(fresh, tmp_path / "backup")
    assert await messages(fresh) == held
    await restore(fresh, tmp_path / "backup", overwrite=True)
    assert await messages(fresh) == await messages(bus)


async def test_nothing_is_replaced_under_a_service_that_runs(bus: Bus, fresh: Bus, tmp_path: Path) -> None:
    await fill(bus)
    await take(bus, tmp_path / "backup")
    await provision(fresh)
    subscription = await fresh.js.pull_subscribe_bind("layout", "DOCUMENTS")
    waiting = asyncio.create_task(subscription.fetch(1, timeout=60))

    async def waits() -> bool:
        return bool((await fresh.js.consumer_info("DOCUMENTS", "layout")).num_waiting)

    await until(waits)
    with pytest.raises(UsageError, match="layout of DOCUMENTS"):
        await restore(fresh, tmp_path / "backup")
    waiting.cancel()
    assert (await fresh.js.stream_info("DOCUMENTS")).state.messages == 0


async def test_a_full_disk_is_said_and_the_backup_goes_on_afterwards(bus: Bus, fresh: Bus, tmp_path: Path) -> None:
    await fill(bus)
    folder = tmp_path / "backup"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        # Enough for all but the original.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        with pytest.raises(BackupError, match=r"full.*run the same command again"):
            await take(bus, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    begun = await asyncio.to_thread(read_book, folder)
    assert begun.missing == (f"OBJ_IMAGES_{TENANT}",)
    assert list(folder.glob("*.partial")) == []
    with pytest.raises(UsageError, match="never finished"):
        await restore(fresh, folder)
    # What happens between the two is in neither copy of the streams that are through.
    await publish_event(bus, make_submitted("between"))
    book = await take(bus, folder)
    assert book.ended is not None
    assert book.streams[:-1] == begun.streams
    await restore(fresh, folder)
    assert await ImageStore(fresh.client).get(TENANT, "doc-0/original") == PHOTO


async def test_a_folder_with_something_else_is_left_alone(bus: Bus, tmp_path: Path) -> None:
    await fill(bus)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(UsageError, match="not empty"):
        await take(bus, tmp_path / "photos")
    with pytest.raises(UsageError, match="no backup"):
        await restore(bus, tmp_path / "photos")
    await take(bus, tmp_path / "backup")
    with pytest.raises(UsageError, match="whole backup"):
        await take(bus, tmp_path / "backup")
    newer = (tmp_path / "backup" / FILE).read_text().replace('"version": 1', '"version": 2')
    (tmp_path / "backup" / FILE).write_text(newer)
    with pytest.raises(UsageError, match="newer version"):
        await restore(bus, tmp_path / "backup")


async def test_a_server_without_our_streams_has_nothing_to_back_up(fresh: Bus, tmp_path: Path) -> None:
    await fresh.js.add_stream(name="ORDERS", subjects=["orders.>"])
    with pytest.raises(UsageError, match="no streams of Billow"):
        await take(fresh, tmp_path / "backup")


@pytest.mark.timeout(400)
async def test_a_hub_of_three_is_copied_and_made_anew_with_three_copies_or_one(
    hub: Hub, fresh: Bus, tmp_path: Path
) -> None:
    async with await Bus.connect(hub.url, name="test", domain=DOMAIN, timeout=60) as bus:
        await provision_hub(bus)
        await fill(bus)
        before = await messages(bus)
        book: Book = await take(bus, tmp_path / "backup")
        assert {entry.config["num_replicas"] for entry in book.streams if entry.name != f"OBJ_IMAGES_{TENANT}"} == {3}
        for each in await Server(bus).streams():
            await bus.js.delete_stream(each["config"]["name"])
        await restore(bus, tmp_path / "backup")
        assert await messages(bus) == before
        assert (await bus.js.stream_info(DOCUMENTS.name)).config.num_replicas == NODES
        handed = [message.metadata.sequence.stream for message in await pulled(bus, 100)]
        assert handed == list(range(SETTLED + 1, DOCUMENTS_HELD + 1))
    await restore(fresh, tmp_path / "backup", replicas=1)
    assert await messages(fresh) == before
    shutil.rmtree(tmp_path / "backup")
