"""Routes on a real server: how they are changed, and that a change acts."""

import asyncio
from typing import Any

import msgspec
import pytest

from billow.bus import buckets, routes
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.presence import Announcer
from billow.bus.provision import ensure_models
from billow.bus.routes import RouteBook, RouteTable, ensure_routes, is_served
from billow.bus.topology import ROUTES_BUCKET
from billow.runtime.errors import PermanentError, UsageError
from billow.runtime.tasks import end_task
from billow.schemas.presence import ModelPresence
from billow.schemas.routing import Route
from billow.testkit.cluster import DOMAIN, Hub, provision_hub
from billow.testkit.events import MOMENT

TASK = "text-detection"
ROUTE = Route(task=TASK, default="one_1-0-0", changed_at=MOMENT, changed_by="ann@desk", note="first")


def to(model: str, **changes: Any) -> Route:
    return msgspec.structs.replace(ROUTE, default=model, **changes)


async def becomes(table: RouteTable, model: str | None) -> None:
    async with asyncio.timeout(60):
        while (route.default if (route := table.current(TASK)) else None) != model:
            await table.change()


async def test_a_change_is_heard_at_once_and_so_is_a_removal(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    # It would be read anyway only long after the test.
    monkeypatch.setattr(routes, "REFRESH_SECONDS", 3600.0)
    book, table = RouteBook(bus), RouteTable(bus)
    await table.start()
    assert table.current(TASK) is None
    version = await book.put(ROUTE, expected=0)
    await becomes(table, "one_1-0-0")
    assert table.version(TASK) == version
    version = await book.put(to("two_1-0-0"), expected=version)
    await becomes(table, "two_1-0-0")
    await book.remove(TASK, expected=version, by="ann@desk")
    await becomes(table, None)
    await table.close()


async def test_what_was_said_before_is_known_from_the_start(bus: Bus) -> None:
    book = RouteBook(bus)
    await book.open()
    await book.put(ROUTE, expected=0)
    table = RouteTable(bus)
    await table.start()
    assert table.current(TASK) == ROUTE
    await table.close()


async def test_two_that_start_at_the_same_time_both_know_the_routes(bus: Bus) -> None:
    await RouteBook(bus).open()
    await RouteBook(bus).put(ROUTE, expected=0)
    table = RouteTable(bus)

    async def use() -> Route | None:
        await table.start()
        return table.current(TASK)

    assert await asyncio.gather(use(), use()) == [ROUTE, ROUTE]
    await table.close()


async def test_a_change_is_heard_after_the_server_was_away(bus: Bus, embedded_server: EmbeddedServer) -> None:
    book, table = RouteBook(bus), RouteTable(bus)
    await table.start()
    version = await book.put(ROUTE, expected=0)
    await becomes(table, "one_1-0-0")
    await embedded_server.kill()
    await embedded_server.restart()
    # Another connection: it may be there sooner than ours.
    async with await Bus.connect(embedded_server.url, name="operator") as other:
        version = await RouteBook(other).put(to("two_1-0-0"), expected=version)
        await becomes(table, "two_1-0-0")
        # Nobody looks any more: it can only be heard.
        await end_task(table._keeper)  # pyright: ignore[reportPrivateUsage]
        await RouteBook(other).put(to("three_1-0-0"), expected=version)
        await becomes(table, "three_1-0-0")
    await table.close()


async def test_a_bucket_that_was_made_anew_counts(bus: Bus) -> None:
    book, table = RouteBook(bus), RouteTable(bus)
    await table.start()
    version = await book.put(ROUTE, expected=0)
    await book.put(to("two_1-0-0"), expected=version)
    await becomes(table, "two_1-0-0")
    await bus.js.delete_key_value(ROUTES_BUCKET)  # pyright: ignore[reportUnknownMemberType]
    await becomes(table, None)
    await table.close()


async def test_a_refused_change_is_never_acted_on(bus: Bus) -> None:
    book, table = RouteBook(bus), RouteTable(bus)
    await table.start()
    version = await book.put(ROUTE, expected=0)
    await becomes(table, "one_1-0-0")
    with pytest.raises(PermanentError, match="Somebody else"):
        await book.put(to("two_1-0-0"), expected=version + 5)
    # In their order: had the refused one been heard, it would be by now.
    changed = table.change()
    await book.put(to("three_1-0-0"), expected=version)
    async with asyncio.timeout(30):
        await changed
    assert table.current(TASK) == to("three_1-0-0")
    await table.close()


async def test_of_two_who_change_a_route_at_once_one_is_told(bus: Bus) -> None:
    book = RouteBook(bus)
    await book.open()
    version = await book.put(ROUTE, expected=0)
    outcomes = await asyncio.gather(
        *(book.put(to(f"n{n}_1-0-0"), expected=version) for n in range(5)), return_exceptions=True
    )
    won = [outcome for outcome in outcomes if isinstance(outcome, int)]
    lost = [outcome for outcome in outcomes if isinstance(outcome, PermanentError)]
    assert (len(won), len(lost)) == (1, 4)
    assert {error.code for error in lost} == {"route_changed"}
    now = await book.get(TASK)
    assert now is not None and now.version == won[0]


async def test_tasks_have_routes_and_versions_of_their_own(bus: Bus) -> None:
    book = RouteBook(bus)
    await book.open()
    await book.put(ROUTE, expected=0)
    await book.put(to("lay_1-0-0", task="token-classification"), expected=0)
    one, other = await book.get(TASK), await book.get("token-classification")
    assert one is not None and other is not None
    assert (one.route, other.route) == (ROUTE, to("lay_1-0-0", task="token-classification"))
    assert await book.get("text-recognition") is None


async def test_a_route_is_rolled_back_to_the_one_before_and_to_any(bus: Bus) -> None:
    book = RouteBook(bus)
    await book.open()
    versions = [await book.put(ROUTE, expected=0)]
    for name in ("two_1-0-0", "three_1-0-0"):
        versions.append(await book.put(to(name), expected=versions[-1]))
    back = await book.roll_back(TASK, by="eve@desk")
    assert back.version == versions[1]
    now = await book.get(TASK)
    assert now is not None and now.route is not None
    assert (now.route.default, now.changed_by, now.version) == ("two_1-0-0", "eve@desk", versions[-1] + 1)
    assert str(versions[1]) in now.note
    await book.roll_back(TASK, versions[0], by="eve@desk")
    history = await book.history(TASK)
    assert [old.route.default for old in history if old.route] == [
        "one_1-0-0",
        "two_1-0-0",
        "three_1-0-0",
        "two_1-0-0",
        "one_1-0-0",
    ]
    with pytest.raises(UsageError, match="no earlier version 999"):
        await book.roll_back(TASK, 999, by="eve@desk")


async def test_a_removal_is_a_version_like_any_other(bus: Bus) -> None:
    book = RouteBook(bus)
    await book.open()
    version = await book.put(ROUTE, expected=0)
    await book.remove(TASK, expected=version, by="eve@desk", note="settings\nwill do")
    now = await book.get(TASK)
    assert now is not None
    assert (now.route, now.changed_by, now.note) == (None, "eve@desk", "settings | will do")
    assert now.changed_at is not None
    await book.roll_back(TASK, by="ann@desk")
    again = await book.get(TASK)
    assert again is not None and again.route is not None
    assert again.route.default == "one_1-0-0"
    await book.roll_back(TASK, by="ann@desk")
    gone = await book.get(TASK)
    assert gone is not None and gone.route is None


async def test_without_an_earlier_version_there_is_nothing_to_roll_back_to(bus: Bus) -> None:
    book = RouteBook(bus)
    await book.open()
    with pytest.raises(UsageError, match="no earlier version"):
        await book.roll_back(TASK, by="ann@desk")


async def test_a_route_that_makes_no_sense_is_not_stored(bus: Bus) -> None:
    book = RouteBook(bus)
    await book.open()
    with pytest.raises(ValueError, match="shadow must be another"):
        await book.put(to("one_1-0-0", shadows=("one_1-0-0",)), expected=0)
    assert await book.get(TASK) is None


async def test_a_route_of_a_later_version_is_left_aside_and_said(bus: Bus) -> None:
    book, table = RouteBook(bus), RouteTable(bus)
    await table.start()
    await book.put(ROUTE, expected=0)
    await becomes(table, "one_1-0-0")
    await buckets.put(bus, ROUTES_BUCKET, TASK, b'{"type":"route.v9"}')
    with pytest.raises(PermanentError) as caught:
        await book.get(TASK)
    assert caught.value.code == "route_unreadable"
    assert table.current(TASK) == ROUTE
    await table.close()


async def test_who_serves_a_model_is_known_while_it_does(bus: Bus) -> None:
    await ensure_models(bus)
    assert not await is_served(bus, "fake_1-0-0")
    presence = ModelPresence(model="fake_1-0-0", worker="w1", task=TASK, version="1.0.0", started_at=MOMENT)
    one = Announcer(bus, lambda: presence)
    other = Announcer(bus, lambda: msgspec.structs.replace(presence, worker="w2"))
    await one.start()
    await other.start()
    assert await is_served(bus, "fake_1-0-0")
    await other.stop()
    assert await is_served(bus, "fake_1-0-0"), "the last word is the goodbye of another worker"
    await one.stop()
    assert not await is_served(bus, "fake_1-0-0")


async def test_a_cluster_hears_a_change_that_came_by_way_of_its_domain(hub: Hub) -> None:
    async with (
        await Bus.connect(hub.url, name="service") as service,
        await Bus.connect(hub.url, name="operator", domain=DOMAIN) as operator,
    ):
        await provision_hub(service)
        await ensure_routes(service, replicas=3)
        table = RouteTable(service)
        await table.start()
        version = await RouteBook(operator).put(ROUTE, expected=0)
        await becomes(table, "one_1-0-0")
        with pytest.raises(PermanentError, match="Somebody else"):
            await RouteBook(operator).put(to("two_1-0-0"), expected=version + 1)
        await RouteBook(operator).put(to("two_1-0-0"), expected=version)
        await becomes(table, "two_1-0-0")
        await table.close()
