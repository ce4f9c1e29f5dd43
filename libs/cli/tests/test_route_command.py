"""`billow models route` as an operator meets it."""

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from billow.bus.connection import Bus
from billow.bus.presence import Announcer
from billow.bus.provision import provision
from billow.bus.publish import publish
from billow.bus.routes import RouteBook
from billow.bus.topology import SHADOWS
from billow.cli.commands import route as command
from billow.cli.commands.route import Change, Part
from billow.cli.commands.route_view import summaries
from billow.runtime.errors import UsageError
from billow.schemas import codec, subjects
from billow.schemas.presence import ModelPresence
from billow.schemas.record import Failure
from billow.schemas.routing import Comparison, Route, Rule
from billow.testkit.events import MOMENT
from billow.testkit.plugin import NatsServer

TASK = "text-recognition"
KNOWN = "ppocr-v6-rec-small"
TOKEN = "ppocr-v6-rec-small_1-0-0"


class Shell:
    """What a command printed."""

    def __init__(self) -> None:
        self.out = Console(file=io.StringIO(), width=140, color_system=None)
        self.err = Console(file=io.StringIO(), width=140, color_system=None)

    async def change(self, task: str | None = TASK, **change: Any) -> str:
        return await self._of(lambda: command.run(task, Change(**change), self.out, self.err))

    async def roll_back(self, version: int | None = None) -> str:
        return await self._of(lambda: command.roll_back(TASK, version, "", self.out, self.err))

    async def history(self) -> str:
        return await self._of(lambda: command.show_history(TASK, self.out))

    async def compare(self) -> str:
        return await self._of(lambda: command.compare(TASK, self.out))

    async def _of(self, work: Callable[[], Awaitable[None]]) -> str:
        for console in (self.out, self.err):
            console.file = io.StringIO()
        await work()
        text = ""
        for console in (self.out, self.err):
            assert isinstance(console.file, io.StringIO)
            text += console.file.getvalue()
        return text


@pytest.fixture
def shell(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setenv("BILLOW_NATS_URL", nats_server.url)
    return Shell()


async def route_of(server: NatsServer) -> Route:
    async with await Bus.connect(server.url, name="test") as bus:
        version = await RouteBook(bus).get(TASK)
    assert version is not None and version.route is not None
    return version.route


async def test_without_a_route_the_setting_that_counts_is_named(shell: Shell) -> None:
    text = await shell.change(None)
    for part in ("text-detection", "BILLOW_DETECTION_MODEL", TASK, "BILLOW_RECOGNITION_MODEL", "BILLOW_LAYOUT_MODEL"):
        assert part in text


async def test_only_what_is_named_is_changed(shell: Shell, nats_server: NatsServer) -> None:
    await shell.change(default=KNOWN, note="first")
    await shell.change(weights=("new_2-0-0=0.1",), shadows=("third_1-0-0",), fallback=KNOWN, fallback_after=2.5)
    await shell.change(rules=("language=vi tenant=acme model=vi_1-0-0",))
    await shell.change(weights=("new_2-0-0=0.3",), note="more")
    route = await route_of(nats_server)
    assert (route.default, route.weights, route.shadows) == (TOKEN, {"new_2-0-0": 0.3}, ("third_1-0-0",))
    assert (route.fallback, route.fallback_after, route.note) == (TOKEN, 2.5, "more")
    assert route.rules == (Rule(model="vi_1-0-0", tenant="acme", language="vi"),)
    assert "@" in route.changed_by
    await shell.change(clear=(Part.rules, Part.shadows))
    route = await route_of(nats_server)
    assert (route.weights, route.rules, route.shadows, route.fallback) == ({"new_2-0-0": 0.3}, (), (), TOKEN)


async def test_a_canary_ends_by_being_made_the_default_or_by_having_no_share(
    shell: Shell, nats_server: NatsServer
) -> None:
    await shell.change(default=KNOWN, weights=("new_2-0-0=0.1", "third_1-0-0=0.1"), fallback=KNOWN)
    await shell.change(weights=("third_1-0-0=0",), shadows=("third_1-0-0",))
    await shell.change(default="new_2-0-0")
    route = await route_of(nats_server)
    assert (route.default, route.weights, route.fallback) == ("new_2-0-0", {}, TOKEN)
    await shell.change(default="third_1-0-0")
    assert (await route_of(nats_server)).shadows == ()
    await shell.change(default=KNOWN)
    # It would stand in for itself.
    assert (await route_of(nats_server)).fallback is None


async def test_it_shows_what_counts_now_who_serves_it_and_warns_of_whom_nobody_serves(
    shell: Shell, nats_server: NatsServer
) -> None:
    async with await Bus.connect(nats_server.url, name="worker") as bus:
        await provision(bus)
        presence = ModelPresence(model=TOKEN, worker="w", task=TASK, version="1.0.0", started_at=MOMENT)
        announcer = Announcer(bus, lambda: presence)
        await announcer.start()
        text = await shell.change(default=KNOWN, weights=("new_2-0-0=0.25",), note="try it")
        assert "Nobody serves new_2-0-0 now" in text
        assert f"Nobody serves {TOKEN}" not in text
        for part in (TOKEN, "1 worker", "0.75", "0.25", "try it", "version 1"):
            assert part in text
        await announcer.stop()


async def test_a_route_goes_back_and_its_history_tells(shell: Shell, nats_server: NatsServer) -> None:
    await shell.change(default="one_1-0-0", note="first")
    await shell.change(default="two_1-0-0", note="second")
    await shell.roll_back()
    assert (await route_of(nats_server)).default == "one_1-0-0"
    await shell.roll_back(2)
    assert (await route_of(nats_server)).default == "two_1-0-0"
    text = await shell.history()
    assert [line.split()[0] for line in text.splitlines() if line.strip()[:1].isdigit()] == ["4", "3", "2", "1"]
    for part in ("first", "second", "back to version 1", "back to version 2"):
        assert part in text


async def test_a_route_is_taken_away_as_a_whole_or_begun_anew(shell: Shell, nats_server: NatsServer) -> None:
    await shell.change(default="one_1-0-0", shadows=("third_1-0-0",))
    assert "BILLOW_RECOGNITION_MODEL" in await shell.change(clear=(Part.route,), note="enough")
    await shell.roll_back()
    assert (await route_of(nats_server)).shadows == ("third_1-0-0",)
    await shell.change(clear=(Part.route,), default="two_1-0-0")
    route = await route_of(nats_server)
    assert (route.default, route.shadows) == ("two_1-0-0", ())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": ("new_2-0-0=0.1",)}, "--default"),
        ({"default": "ppocr-v6-rec-smal"}, "ppocr-v6-rec-small"),
        ({"default": "rules"}, "model for token-classification"),
        ({"default": KNOWN, "weights": ("a_1-0-0=0.6", "b_1-0-0=0.6")}, "add up to 1.2"),
        ({"default": KNOWN, "weights": ("a_1-0-0",)}, "MODEL=SHARE"),
        ({"default": KNOWN, "weights": ("a_1-0-0=lots",)}, "MODEL=SHARE"),
        ({"default": KNOWN, "weights": ("a_1-0-0=nan",)}, "between 0 and 1"),
        ({"default": KNOWN, "shadows": (TOKEN,)}, "shadow must be another"),
        ({"default": KNOWN, "rules": ("colour=red model=a_1-0-0",)}, "'colour' is none of"),
        ({"default": KNOWN, "rules": ("language=vi",)}, "for which model"),
        ({"default": KNOWN, "rules": ("kind=novel model=a_1-0-0",)}, "receipt, invoice"),
        ({"default": KNOWN, "rules": ("model=a_1-0-0",)}, "names no tenant"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    shell: Shell, nats_server: NatsServer, change: dict[str, Any], says: str
) -> None:
    with pytest.raises((UsageError, ValueError), match=says):
        await shell.change(**change)
    async with await Bus.connect(nats_server.url, name="test") as bus:
        assert await RouteBook(bus).get(TASK) is None


@pytest.mark.parametrize("task", ["text-reading", None])
async def test_a_change_needs_a_task_that_there_is(shell: Shell, task: str | None) -> None:
    with pytest.raises(UsageError, match="text-detection, text-recognition, token-classification"):
        await shell.change(task, default=KNOWN)


def comparison(document_id: str, agreement: float | None, **changes: Any) -> Comparison:
    return Comparison(
        tenant="default",
        document_id=document_id,
        task=TASK,
        model=TOKEN,
        shadow="new_2-0-0",
        occurred_at=datetime.now(UTC),
        agreement=agreement,
        run_ms=30,
        shadow_run_ms=20,
        **changes,
    )


async def test_shadows_are_compared_by_mean_worst_and_speed(shell: Shell, nats_server: NatsServer) -> None:
    assert "Nothing was compared" in await shell.compare()
    failure = Failure(code="inference_failed", message="No.", stage="worker")
    found = [
        *(comparison(f"doc-{n}", 1.0, similarity=1.0) for n in range(39)),
        comparison("doc-0", 0.6, similarity=0.9),
        comparison("doc-40", None, error=failure),
    ]
    (summary,) = summaries(found)
    assert (summary.documents, summary.requests, summary.failed) == (40, 41, 1)
    assert summary.agreement == pytest.approx(0.99)
    assert summary.speed == pytest.approx(1.5)
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        subject = subjects.shadow("default", TASK, "new_2-0-0")
        for each in found:
            await publish(bus, subject, codec.encode(each), message_id=None, stream=SHADOWS.name, extra={})
    text = await shell.compare()
    for part in (TOKEN, "new_2-0-0", "40", "41", "99.0%", "99.8%", "1.50 x"):
        assert part in text


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ([TASK, "--default", "one_1-0-0"], 0, "version 1"),
        ([TASK, "--default", "no-such-model"], 2, "no-such-model"),
        ([TASK, "--history", "--rollback"], 2, "one at a time"),
        ([TASK, "--to", "3"], 2, "--rollback"),
        (["text-reading"], 2, "text-recognition"),
    ],
)
async def test_exit_codes(nats_server: NatsServer, args: list[str], code: int, says: str) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "billow.cli", "models", "route", *args],
        env={**os.environ, "BILLOW_NATS_URL": nats_server.url, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert says in done.stdout + done.stderr
