# pyright: reportUnknownMemberType=false
"""`billow topology` against a real server."""

import asyncio
import json
from pathlib import Path

import msgspec
import nats
import pytest
from typer.testing import CliRunner, Result

from billow.bus.connection import Bus
from billow.bus.provision import provision
from billow.bus.topology import CONSUMERS, STREAMS
from billow.cli.__main__ import app
from billow.cli.commands.topology_view import readable
from billow.testkit.plugin import NatsServer

OURS = {"billow": "topology"}


@pytest.fixture
def billow(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("BILLOW_NATS_URL", nats_server.url)
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


async def run(billow: CliRunner, *arguments: str, code: int = 0) -> Result:
    """The command has an event loop of its own."""
    result = await asyncio.to_thread(billow.invoke, app, ["topology", *arguments])
    assert result.exit_code == code, result.output
    return result


async def test_plan_shows_apply_makes_and_then_nothing_is_left(billow: CliRunner) -> None:
    result = await run(billow, "plan", "--format", "table")
    assert "+ create stream DOCUMENTS" in result.output
    assert "+ create consumer ocr of DOCUMENTS" in result.output
    assert "90 d" in result.output
    assert "16 GiB" in result.output
    await run(billow, "plan", "--check", code=1)
    result = await run(billow, "apply", "--yes")
    assert "The server has what is declared." in result.output
    result = await run(billow, "plan", "--check", "--format", "table")
    assert result.output.strip() == "The server has what is declared."
    result = await run(billow, "apply")
    assert result.output.strip() == "The server has what is declared."


async def test_each_change_is_a_line_of_json(billow: CliRunner) -> None:
    result = await run(billow, "plan", "--format", "jsonl")
    changes = [json.loads(line) for line in result.stdout.splitlines()]
    assert {change["name"] for change in changes if change["kind"] == "consumer"} == {
        spec.durable for spec in CONSUMERS
    }
    assert {spec.name for spec in STREAMS} <= {change["name"] for change in changes}
    assert {change["action"] for change in changes} == {"create"}


async def test_nobody_is_asked_without_a_terminal_and_nothing_is_changed(
    billow: CliRunner, nats_server: NatsServer
) -> None:
    result = await run(billow, "apply", code=2)
    assert "--yes" in result.output
    async with await nats.connect(nats_server.url) as client:
        assert await client.jetstream().streams_info() == []


async def test_a_field_is_shown_old_and_new(billow: CliRunner, nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        await bus.js.update_stream((await bus.js.stream_info("RESULTS")).config, max_age=600.0)
    result = await run(billow, "plan", "--format", "table")
    assert "~ update stream RESULTS" in result.output
    assert "max_age  10 min -> 1 h" in result.output
    assert "1 to update." in result.output


async def test_what_destroys_something_takes_a_word_of_its_own(billow: CliRunner, nats_server: NatsServer) -> None:
    async with await Bus.connect(nats_server.url, name="test") as bus:
        await provision(bus)
        await bus.js.add_stream(name="OLD", subjects=["old.*"], metadata=OURS)
        await bus.js.add_stream(name="ORDERS", subjects=["orders.*"])
        await bus.js.update_stream((await bus.js.stream_info("RESULTS")).config, max_age=600.0)
        result = await run(billow, "plan", "--format", "table")
        assert "- delete stream OLD" in result.output
        assert "! not declared any more; its 0 messages are lost" in result.output
        assert "left alone: ORDERS" in result.output
        result = await run(billow, "apply", "--yes", code=2)
        assert "--allow-destructive" in result.output
        assert (await bus.js.stream_info("RESULTS")).config.max_age == 600
        await run(billow, "apply", "--yes", "--allow-destructive")
        names = {info.config.name for info in await bus.js.streams_info()}
        assert "OLD" not in names
        assert "ORDERS" in names


async def test_more_copies_than_there_are_servers_is_told_with_the_servers_reason(billow: CliRunner) -> None:
    await run(billow, "apply", "--yes")
    result = await run(billow, "plan", "--replicas", "3", "--format", "table")
    assert "num_replicas  1 -> 3" in result.output
    result = await run(billow, "apply", "--replicas", "3", "--yes", code=1)
    assert "replicas" in result.output


def test_exports_go_to_the_terminal_or_a_file(tmp_path: Path) -> None:
    billow = CliRunner()
    document = json.loads(billow.invoke(app, ["topology", "export", "asyncapi"]).stdout)
    assert document["asyncapi"] == "3.0.0"
    file = tmp_path / "new" / "consumers.json"
    assert billow.invoke(app, ["topology", "export", "consumers", "--output", str(file)]).exit_code == 0
    assert len(msgspec.json.decode(file.read_bytes())["consumers"]) == len(CONSUMERS)
    assert billow.invoke(app, ["topology", "export", "catalogue"]).stdout.startswith("# Events")


def test_the_permissions_of_a_site(tmp_path: Path) -> None:
    billow, file = CliRunner(), tmp_path / "users.conf"
    arguments = ["--tenant", "acme", "--model", "rules", "--site", "desk", "--domain", "hub", "--output", str(file)]
    result = billow.invoke(app, ["topology", "export", "permissions", *arguments])
    assert result.exit_code == 0, result.output
    text = file.read_text()
    for user in ("operator", "client-acme", "ocr", "layout", "receipt", "worker-rules_1-0-0", "site-desk"):
        assert f'user: "{user}"' in text
    assert "$BILLOW_PASSWORD_CLIENT_ACME" in text
    assert '"$JS.hub.API.CONSUMER.MSG.NEXT.INFERENCE.rules_1-0-0_bulk"' in text
    result = billow.invoke(app, ["topology", "export", "permissions", "--model", "nobody-knows-it"])
    assert result.exit_code == 2
    result = billow.invoke(app, ["topology", "export", "permissions", "--output", str(file / "x")])
    assert (result.exit_code, "cannot be written" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("max_age", 0, "for ever"),
        ("ack_wait", 15_000_000_000, "15 s"),
        ("max_bytes", -1, "no limit"),
        ("max_bytes", 1536, "1.5 KiB"),
        ("max_ack_pending", 100_000, "100,000"),
        ("allow_direct", True, "yes"),
        ("subjects", ["a", "b"], "a, b"),
        ("backoff", None, "unset"),
    ],
)
def test_values_are_said_in_units(field: str, value: object, said: str) -> None:
    assert readable(field, value) == said


def test_the_users_file_of_the_templates_is_up_to_date() -> None:
    file = Path(__file__).parents[3] / "deploy" / "nats" / "users.conf"
    result = CliRunner().invoke(app, ["topology", "export", "permissions", "--domain", "hub", "--site", "desk"])
    assert file.read_text() == result.stdout, "run `make topology`"
