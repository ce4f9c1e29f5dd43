# pyright: reportUnknownMemberType=false
"""Plan and apply on a real server."""

import msgspec
import pytest
from nats.js import api

from billow.bus.connection import Bus
from billow.bus.images import ImageStore
from billow.bus.planning.apply import DestructiveError, apply_changes, apply_topology
from billow.bus.planning.configs import Site
from billow.bus.planning.plan import Change, make_plan
from billow.bus.planning.server import Server
from billow.bus.provision import ensure_consumer, provision
from billow.bus.publish import publish_event
from billow.bus.topology import BUCKETS, CONSUMERS, DOCUMENTS, OCR, RESULTS, STREAMS, inference_consumer
from billow.runtime.errors import TransientError
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted

MARKED = {"billow": "topology"}


async def changes(bus: Bus) -> tuple[Change, ...]:
    return (await make_plan(bus)).changes


async def applied(bus: Bus, *, allow_destructive: bool = False) -> None:
    """Apply, and see that nothing is left to do."""
    await apply_changes(bus, await changes(bus), allow_destructive=allow_destructive)
    assert await changes(bus) == ()


def said(change: Change) -> tuple[str, str, list[str]]:
    return change.action, change.name, [field.field for field in change.fields]


async def test_an_empty_server_gets_everything_and_applying_twice_does_nothing(bus: Bus) -> None:
    for info in await bus.js.streams_info():
        await bus.js.delete_stream(str(info.config.name))
    plan = await make_plan(bus)
    assert {change.action for change in plan.changes} == {"create"}
    assert len(plan.changes) == len(STREAMS) + len(BUCKETS) + len(CONSUMERS)
    assert plan.destructive == ()
    await applied(bus)
    await apply_topology(bus)
    assert await changes(bus) == ()


async def test_what_the_processes_make_at_a_start_is_as_declared(bus: Bus) -> None:
    await ImageStore(bus.client).ensure_bucket("acme")
    for lane in ("interactive", "bulk"):
        await ensure_consumer(bus, inference_consumer("text-detection", "m_1-0-0", lane))
    assert await make_plan(bus) == await make_plan(bus)
    assert await changes(bus) == ()
    assert (await make_plan(bus)).foreign == ()


async def test_a_field_that_differs_is_shown_and_made_as_declared(bus: Bus) -> None:
    config = (await bus.js.stream_info(RESULTS.name)).config
    await bus.js.update_stream(config, max_age=600.0, description="something")
    (change,) = await changes(bus)
    assert said(change) == ("update", "RESULTS", ["description", "max_age"])
    assert (change.fields[1].old, change.fields[1].new) == (600 * 10**9, 3600 * 10**9)
    await applied(bus)
    assert (await bus.js.stream_info(RESULTS.name)).config.max_age == RESULTS.max_age


async def test_what_is_not_declared_of_a_stream_stays(bus: Bus) -> None:
    config = (await bus.js.stream_info(RESULTS.name)).config
    await bus.js.update_stream(config, max_age=600.0, max_msg_size=4_000_000, metadata={**MARKED, "team": "a"})
    await applied(bus)
    now = (await bus.js.stream_info(RESULTS.name)).config
    assert (now.max_msg_size, (now.metadata or {})["team"]) == (4_000_000, "a")


async def test_a_consumer_that_differs_is_updated_where_it_is(bus: Bus) -> None:
    await publish_event(bus, make_submitted("one"))
    await publish_event(bus, make_submitted("two"))
    subscription = await bus.js.pull_subscribe_bind(OCR.durable, OCR.stream)
    await (await subscription.fetch(1, timeout=30))[0].ack_sync(timeout=30)
    found = (await bus.js.consumer_info(OCR.stream, OCR.durable)).config
    found.ack_wait = 99
    await bus.js.add_consumer(OCR.stream, found)
    (change,) = await changes(bus)
    assert said(change) == ("update", "ocr", ["ack_wait"])
    await applied(bus)

    async def one_waits() -> bool:
        return (await bus.js.consumer_info(OCR.stream, OCR.durable)).num_pending == 1

    await until(one_waits)
    assert (await bus.js.consumer_info(OCR.stream, OCR.durable)).config.ack_wait == OCR.ack_wait


async def take_one(bus: Bus) -> str:
    """Acknowledge the next event of the OCR service; returns its subject."""
    subscription = await bus.js.pull_subscribe_bind(OCR.durable, OCR.stream)
    (message,) = await subscription.fetch(1, timeout=30)
    await message.ack_sync(timeout=30)
    return message.subject


async def odd_consumer(bus: Bus) -> Change:
    """Of three documents one is done, by a consumer that has to be made anew."""
    for n in range(3):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    await bus.js.delete_consumer(OCR.stream, OCR.durable)
    odd = api.ConsumerConfig(
        name="ocr",
        durable_name="ocr",
        ack_policy=api.AckPolicy.EXPLICIT,
        max_waiting=7,
        filter_subject=OCR.filters[0],
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=1,
    )
    await bus.js.add_consumer(OCR.stream, odd)
    await take_one(bus)
    (change,) = await changes(bus)
    assert change.action == "recreate"
    return change


async def test_a_consumer_that_must_be_made_anew_goes_on_where_it_was(bus: Bus) -> None:
    change = await odd_consumer(bus)
    assert "max_waiting" in change.destroys
    with pytest.raises(DestructiveError, match="recreate consumer ocr"):
        await applied(bus)
    await applied(bus, allow_destructive=True)
    info = await bus.js.consumer_info(OCR.stream, OCR.durable)
    assert info.num_pending == 2
    assert (await take_one(bus)).endswith(".doc-1")


@pytest.mark.parametrize("by", ["apply", "a service that starts"])
async def test_a_recreation_that_broke_off_goes_on_where_the_consumer_was_whoever_makes_it_again(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    change = await odd_consumer(bus)

    async def broken_off(*_: object) -> bool:
        raise TransientError("NATS does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Server, "make_consumer", broken_off)
        with pytest.raises(TransientError):
            await apply_changes(bus, [change], allow_destructive=True)
    assert [said(each)[:2] for each in await changes(bus)] == [("create", "ocr")]
    await (applied(bus) if by == "apply" else provision(bus))
    assert (await take_one(bus)).endswith(".doc-1")
    assert await changes(bus) == ()


async def test_a_place_counts_for_the_recreation_that_noted_it_only(bus: Bus) -> None:
    await odd_consumer(bus)
    await applied(bus, allow_destructive=True)
    await take_one(bus)
    await bus.js.delete_consumer(OCR.stream, OCR.durable)
    await applied(bus)
    # Deleted by hand it begins at the beginning, as ever.
    assert (await take_one(bus)).endswith(".doc-0")


async def test_what_we_made_and_declare_no_more_is_deleted_only_with_a_word(bus: Bus) -> None:
    await bus.js.add_stream(name="OLD", subjects=["old.*"], metadata=MARKED)
    await bus.js.publish("old.a", b"x")
    await bus.js.add_consumer("DOCUMENTS", durable_name="old", name="old", metadata=MARKED)
    found = await changes(bus)
    assert [said(change)[:2] for change in found] == [("delete", "old"), ("delete", "OLD")]
    assert "1 messages are lost" in found[1].destroys
    left = await apply_topology(bus)
    assert [change.name for change in left] == ["old", "OLD"]
    await applied(bus, allow_destructive=True)
    assert "OLD" not in [info.config.name for info in await bus.js.streams_info()]


async def test_what_others_made_is_never_touched(bus: Bus) -> None:
    await bus.js.add_stream(name="ORDERS", subjects=["orders.*"], max_age=7)
    await bus.js.add_consumer("DOCUMENTS", durable_name="billing", name="billing", filter_subject="documents.>")
    await bus.js.add_consumer("INFERENCE", durable_name="odd", name="odd", filter_subject="inference.a.b.bulk.*")
    await bus.js.create_key_value(bucket="THEIRS", history=3)
    plan = await make_plan(bus)
    assert plan.changes == ()
    assert sorted(plan.foreign) == ["DOCUMENTS > billing", "INFERENCE > odd", "KV_THEIRS", "ORDERS"]
    await apply_changes(bus, plan.changes, allow_destructive=True)
    assert (await bus.js.stream_info("ORDERS")).config.max_age == 7


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("max_bytes", 10 * 10**9, None),
        ("max_age", 400 * 86400.0, None),
        ("max_msgs", 1, None),
    ],
)
async def test_loosening_a_limit_costs_nothing(bus: Bus, field: str, value: float, reason: str | None) -> None:
    for n in range(3):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    config = (await bus.js.stream_info(DOCUMENTS.name)).config
    await bus.js.update_stream(config, **{field: value})
    (change,) = await changes(bus)
    assert (said(change), change.destroys) == (("update", "DOCUMENTS", [field]), "")


async def test_shrinking_below_what_is_held_is_destructive(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        await publish_event(bus, make_submitted(f"doc-{n}"))
    small = msgspec.structs.replace(DOCUMENTS, max_bytes=100, max_msgs=2, max_age=0.000_001, duplicate_window=0)
    monkeypatch.setattr("billow.bus.planning.plan.STREAMS", (small, *STREAMS[1:]))
    (change,) = await changes(bus)
    assert said(change) == ("update", "DOCUMENTS", ["max_age", "max_bytes", "max_msgs", "duplicate_window"])
    for reason in ("its oldest message is", "more than 100: nothing more is accepted", "3 messages, more than 2"):
        assert reason in change.destroys
    assert [left.name for left in await apply_topology(bus)] == ["DOCUMENTS"]
    assert (await bus.js.stream_info(DOCUMENTS.name)).state.messages == 3


async def test_another_retention_or_storage_takes_a_new_stream(bus: Bus) -> None:
    await bus.js.delete_stream(RESULTS.name)
    await bus.js.add_stream(
        name=RESULTS.name, subjects=["results.*.*.*"], storage=api.StorageType.MEMORY, max_msgs_per_subject=1
    )
    await bus.js.publish("results.a.b.c", b"x")
    (change,) = await changes(bus)
    assert (change.action, change.name) == ("recreate", "RESULTS")
    assert change.destroys.startswith("storage cannot be changed: it is deleted with all 1 messages")
    with pytest.raises(DestructiveError):
        await applied(bus)
    await applied(bus, allow_destructive=True)
    assert (await bus.js.stream_info(RESULTS.name)).config.storage == api.StorageType.FILE


async def test_a_recreated_stream_gets_its_consumers_again(bus: Bus) -> None:
    await bus.js.delete_stream(DOCUMENTS.name)
    await bus.js.add_stream(name=DOCUMENTS.name, subjects=["documents.*.*.*"], storage=api.StorageType.MEMORY)
    await ensure_consumer(bus, OCR)
    await applied(bus, allow_destructive=True)
    await provision(bus)
    assert (await bus.js.consumer_info(OCR.stream, OCR.durable)).config.ack_wait == OCR.ack_wait


async def test_a_bucket_that_a_backend_made_is_brought_into_line_and_keeps_an_age_of_its_own(bus: Bus) -> None:
    await bus.js.create_object_store("IMAGES_acme")
    await ImageStore(bus.client).ensure_bucket("short", max_age=3600)
    (change,) = await changes(bus)
    assert said(change) == ("update", "OBJ_IMAGES_acme", ["max_age"])
    await applied(bus)
    assert (await bus.js.stream_info("OBJ_IMAGES_short")).config.max_age == 3600


async def test_more_copies_than_the_server_can_make_are_refused_with_its_reason(bus: Bus) -> None:
    plan = await make_plan(bus, Site(replicas=3))
    assert {field.field for change in plan.changes for field in change.fields} == {"num_replicas"}
    assert len(plan.changes) == len(STREAMS) + len(BUCKETS)
    with pytest.raises(Exception, match="replicas"):
        await apply_changes(bus, plan.changes)


async def test_a_place_is_declared_for_all_and_kept_by_who_says_none(bus: Bus) -> None:
    plan = await make_plan(bus, Site(cluster="cloud", tags=("ssd",)))
    assert {field.field for change in plan.changes for field in change.fields} == {"placement"}
    assert plan.changes[0].config["placement"] == {"cluster": "cloud", "tags": ["ssd"]}
