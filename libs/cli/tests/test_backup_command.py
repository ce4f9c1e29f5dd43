# pyright: reportUnknownMemberType=false
"""`billow backup` and `billow restore` as an operator meets them."""

import asyncio
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from typer.testing import CliRunner, Result

from billow.bus.connection import Bus
from billow.bus.images import ImageStore
from billow.bus.provision import provision
from billow.bus.publish import publish_event
from billow.cli.__main__ import app
from billow.testkit.events import make_submitted
from billow.testkit.plugin import NatsServer

TENANT = make_submitted().tenant
PHOTO = os.urandom(2_000_000)


def said(result: Result) -> str:
    """What it says to people, however it is wrapped."""
    return " ".join(result.stderr.split())


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bus]:
    monkeypatch.setenv("BILLOW_NATS_URL", nats_server.url)
    monkeypatch.setenv("COLUMNS", "200")
    async with await Bus.connect(nats_server.url, name="test") as connected:
        await provision(connected)
        images = ImageStore(connected.client)
        await images.ensure_bucket(TENANT)
        await images.put(TENANT, "doc-1/original", PHOTO)
        await publish_event(connected, make_submitted())
        yield connected


async def billow(*arguments: str | Path, code: int = 0) -> Result:
    """The command has an event loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


async def test_there_and_back(bus: Bus, tmp_path: Path) -> None:
    folder = tmp_path / "2026-03-14"
    result = await billow("backup", folder, "--format", "jsonl")
    lines = {line["stream"]: line for line in map(json.loads, result.stdout.splitlines())}
    assert lines["DOCUMENTS"]["messages"] == 1
    assert lines[f"OBJ_IMAGES_{TENANT}"]["size"] > len(PHOTO)
    assert "Back up the database too" in said(result)

    result = await billow("restore", folder, "--check", "--format", "table")
    assert "DOCUMENTS" in result.stdout
    assert "All files are as written" in said(result)
    assert re.search(r"nats-server \d+\.\d+\.\d+\.$", said(result))

    result = await billow("restore", folder, code=2)
    assert "DOCUMENTS (1 messages)" in said(result)
    assert "--overwrite" in said(result)

    await bus.js.delete_stream("DOCUMENTS")
    await bus.js.delete_stream(f"OBJ_IMAGES_{TENANT}")
    result = await billow("restore", folder, "--overwrite", "--format", "jsonl")
    done = {line["name"]: line for line in map(json.loads, result.stdout.splitlines())}
    assert (done["DOCUMENTS"]["messages"], done["DOCUMENTS"]["expired"]) == (1, 0)
    assert "billow rebuild" in said(result)
    assert await ImageStore(bus.client).get(TENANT, "doc-1/original") == PHOTO


@pytest.mark.usefixtures("bus")
async def test_what_is_wrong_is_said_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    await billow("backup", folder)
    result = await billow("backup", folder, code=2)
    assert "Name a new folder" in said(result)
    file = folder / "DOCUMENTS.snapshot"
    file.write_bytes(file.read_bytes()[:-1])
    for command in (["restore", str(folder)], ["restore", str(folder), "--check"]):
        result = await billow(*command, code=1)
        assert "DOCUMENTS.snapshot has" in said(result)
    result = await billow("restore", folder, "--stream", "DOKUMENTS", code=2)
    assert "DOKUMENTS is not in the backup" in said(result)
    result = await billow("restore", tmp_path, "--check", code=2)
    assert "holds no backup" in said(result)


@pytest.mark.usefixtures("bus")
async def test_a_full_disk_ends_with_a_sentence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    command = [sys.executable, "-m", "billow.cli", "backup", str(folder)]

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))

    full = await asyncio.to_thread(
        lambda: subprocess.run(command, preexec_fn=little_room, capture_output=True, text=True, check=False)
    )
    assert full.returncode == 1
    assert "is full" in full.stderr and "run the same command" in full.stderr
    assert "Traceback" not in full.stderr
    await billow("backup", folder)
    await billow("restore", folder, "--check")


async def test_no_server_is_no_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLOW_NATS_URL", "nats://127.0.0.1:1")
    await billow("backup", tmp_path / "backup", code=3)
    assert not (tmp_path / "backup").exists()
