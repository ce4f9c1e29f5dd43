# pyright: reportUnknownMemberType=false
"""Which messages and objects an erasure takes, and which it leaves."""

from datetime import UTC, datetime

import pytest
from nats.aio.client import Client

from billow.bus import headers
from billow.bus.connection import Bus
from billow.bus.erasure import document_erasure, erase, state_erasure, stored_at, tenant_erasure
from billow.bus.erasure import images as erasing_images
from billow.bus.erasure import places as erasing_places
from billow.bus.erasure.messages import first_sequence, subjects_of, walk
from billow.bus.erasure.places import about, names
from billow.bus.erasure.report import ErasureReport, Removed, new_report
from billow.bus.erasure.watch import ErasureWatch
from billow.bus.images import ImageStore
from billow.bus.publish import publish, publish_event
from billow.bus.topology import DEADLETTERS, DOCUMENTS
from billow.runtime.errors import PermanentError
from billow.schemas import codec
from billow.schemas.events import Erased, ImageRef
from billow.testkit.consuming import until
from billow.testkit.events import make_analyzed, make_recognized, make_submitted

TENANT = "default"


async def carry_out(bus: Bus, event: Erased) -> dict[str, int]:
    sequence = await state_erasure(bus, event)
    removed = await erase(bus, event, sequence, await stored_at(bus, event, sequence))
    return {each.place: each.count for each in removed if each.count}


async def history(bus: Bus, document_id: str = "*", tenant: str = TENANT) -> list[str]:
    return sorted(await subjects_of(bus, DOCUMENTS.name, f"documents.{tenant}.*.{document_id}"))


async def test_an_original_that_the_stock_client_put_is_gone_too(bus: Bus, stock: Client) -> None:
    bucket = await stock.jetstream().create_object_store("IMAGES_default")
    await bucket.put("doc-1/original", b"x" * 300_000)
    await bucket.put("doc-2/original", b"y" * 300_000)
    await publish_event(bus, make_submitted("doc-1"))
    assert (await carry_out(bus, document_erasure(TENANT, "doc-1")))["images"] == 1
    left = [found.data async for found in walk(bus, "OBJ_IMAGES_default", ">")]
    assert b"x" * 1000 not in b"".join(left)
    assert (await bucket.get("doc-2/original")).data == b"y" * 300_000


async def test_an_original_that_a_later_submission_names_stays(bus: Bus, stock: Client) -> None:
    images = ImageStore(stock)
    await images.put(TENANT, "doc-1/original", b"same bytes")
    await publish_event(bus, make_submitted("doc-1"))
    event = document_erasure(TENANT, "doc-1")
    sequence = await state_erasure(bus, event)
    # The same bytes under the same key are not sent again by our store.
    await images.put(TENANT, "doc-1/original", b"same bytes")
    await publish_event(bus, make_submitted("doc-1", event_id="again", occurred_at=datetime.now(UTC)))
    await erase(bus, event, sequence, await stored_at(bus, event, sequence))
    assert await images.get(TENANT, "doc-1/original") == b"same bytes"
    assert await history(bus) == ["documents.default.erased.doc-1", "documents.default.submitted.doc-1"]


async def test_an_original_under_a_name_of_its_own_goes_with_the_submission_that_names_it(
    bus: Bus, stock: Client
) -> None:
    images = ImageStore(stock)
    await images.put(TENANT, "scan 7.png", b"picture")
    await publish_event(bus, make_submitted("doc-1", image=ImageRef(key="scan 7.png")))
    await carry_out(bus, document_erasure(TENANT, "doc-1"))
    with pytest.raises(PermanentError, match="not in the store"):
        await images.get(TENANT, "scan 7.png")


async def test_a_document_whose_id_begins_alike_stays(bus: Bus, stock: Client) -> None:
    images = ImageStore(stock)
    for name in ("doc-1", "doc-11"):
        await images.put(TENANT, f"{name}/original", name.encode())
        await publish_event(bus, make_submitted(name))
        await publish_event(bus, make_recognized(name))
    await carry_out(bus, document_erasure(TENANT, "doc-1"))
    assert await images.get(TENANT, "doc-11/original") == b"doc-11"
    assert len(await history(bus, "doc-11")) == 2
    assert await history(bus, "doc-1") == ["documents.default.erased.doc-1"]


async def test_a_newer_revision_keeps_what_is_its_when_the_old_one_expires(bus: Bus, stock: Client) -> None:
    images = ImageStore(stock)
    await images.put(TENANT, "doc-1/original", b"one")
    await publish_event(bus, make_submitted("doc-1"))
    await publish_event(bus, make_recognized("doc-1"))
    border = datetime.now(UTC)
    await images.put(TENANT, "doc-1/original-2", b"two")
    await publish_event(bus, make_submitted("doc-1", revision=2, image=ImageRef(key="doc-1/original-2")))
    await publish_event(bus, make_analyzed("doc-1"))
    await publish_event(bus, make_recognized("doc-1", revision=2))
    await carry_out(bus, tenant_erasure(TENANT, before=border, name="retention"))
    assert await images.get(TENANT, "doc-1/original-2") == b"two"
    with pytest.raises(PermanentError, match="not in the store"):
        await images.get(TENANT, "doc-1/original")
    assert await history(bus) == [
        "documents.default.erased.retention",
        "documents.default.recognized.doc-1",
        "documents.default.submitted.doc-1",
    ]


@pytest.mark.parametrize("before", ["an old original", "an empty bucket"])
@pytest.mark.parametrize("moment", ["before the look", "after the look"])
async def test_an_original_that_is_handed_in_after_a_tenant_was_erased_stays(
    bus: Bus, stock: Client, monkeypatch: pytest.MonkeyPatch, before: str, moment: str
) -> None:
    """Its submission is not stated yet."""
    images = ImageStore(stock)
    await images.ensure_bucket(TENANT)
    if before == "an old original":
        await images.put(TENANT, "old/original", b"old")
        await publish_event(bus, make_submitted("old"))
    event = tenant_erasure(TENANT)
    sequence = await state_erasure(bus, event)

    async def look(bus_: Bus, stream: str, pattern: str, since: datetime) -> int | None:
        if moment == "before the look":
            await images.put(TENANT, "new/original", b"new")
        found = await first_sequence(bus_, stream, pattern, since)
        if moment == "after the look":
            await images.put(TENANT, "new/original", b"new")
        return found

    monkeypatch.setattr(erasing_images, "first_sequence", look)
    await erase(bus, event, sequence, await stored_at(bus, event, sequence))
    assert await images.get(TENANT, "new/original") == b"new"
    with pytest.raises(PermanentError, match="not in the store"):
        await images.get(TENANT, "old/original")


@pytest.mark.parametrize("held", [0, 1])
async def test_a_dead_letter_that_comes_while_older_ones_expire_stays(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    async def die(document: str) -> None:
        extra = {headers.DEAD_SUBJECT: f"documents.{TENANT}.submitted.{document}"}
        subject = f"deadletters.{TENANT}.ocr.submitted"
        await publish(bus, subject, document.encode(), message_id=None, stream=DEADLETTERS.name, extra=extra)

    for _ in range(held):
        await die("old")
    border = datetime.now(UTC)

    async def look(bus_: Bus, stream: str, pattern: str, since: datetime) -> int | None:
        found = await first_sequence(bus_, stream, pattern, since)
        if stream == DEADLETTERS.name:
            await die("living")
        return found

    monkeypatch.setattr(erasing_places, "first_sequence", look)
    await carry_out(bus, tenant_erasure(TENANT, before=border))
    assert [found.data async for found in walk(bus, DEADLETTERS.name, ">")] == [b"living"]


async def test_an_erasure_of_what_is_not_there_removes_nothing(bus: Bus) -> None:
    assert await carry_out(bus, document_erasure("nobody", "doc-1")) == {}
    assert await carry_out(bus, tenant_erasure("nobody")) == {}
    assert await carry_out(bus, tenant_erasure("nobody", before=datetime.now(UTC))) == {}


async def test_the_first_message_since_a_time_is_found_by_the_clock_of_the_server(bus: Bus) -> None:
    await publish_event(bus, make_submitted("doc-1"))
    border = datetime.now(UTC)
    second = await publish_event(bus, make_submitted("doc-2"))
    assert await first_sequence(bus, DOCUMENTS.name, "documents.>", border) == second
    assert await first_sequence(bus, DOCUMENTS.name, "documents.>", datetime.now(UTC)) is None
    assert await first_sequence(bus, "NO_SUCH_STREAM", "documents.>", border) is None


async def test_an_erasure_is_known_at_once_and_those_before_by_what_is_loaded(bus: Bus) -> None:
    async def load() -> set[tuple[str, str]]:
        return {(TENANT, "old-1")}

    async with ErasureWatch(bus, load) as watch:
        assert await watch.may_be_erased(TENANT, "old-1")
        assert not await watch.may_be_erased(TENANT, "doc-1")
        await state_erasure(bus, document_erasure(TENANT, "doc-1"))
        await until(lambda: watch.may_be_erased(TENANT, "doc-1"))
        assert not await watch.may_be_erased("other", "doc-1")
        await state_erasure(bus, tenant_erasure("other"))
        await until(lambda: watch.may_be_erased("other", "anything"))


@pytest.mark.parametrize("content_type", [codec.JSON, codec.MSGPACK])
def test_a_payload_names_its_document_also_when_it_was_cut(content_type: codec.ContentType) -> None:
    data = codec.encode(make_submitted("doc-1"), content_type)
    named = about(data)
    assert named is not None
    assert named.document_id == "doc-1"
    cut = data[: data.index(b"doc-1") + 6]
    assert about(cut) is None
    assert names(cut, "doc-1")
    assert not names(cut, "doc")


def test_what_is_removed_later_adds_up_in_the_report() -> None:
    report: ErasureReport = new_report(document_erasure(TENANT, "doc-1"), 7)
    first = report.with_removed((Removed(place="events", count=3, bytes=10), Removed(place="runs", count=1)), "done")
    second = first.with_removed((Removed(place="events", count=1, bytes=5),), "done")
    assert second.removed == (Removed(place="events", count=4, bytes=15), Removed(place="runs", count=1))
