# pyright: reportUnknownMemberType=false
"""Ports that are taken, disks that are full, paths and files that cannot be read: said clearly, and nothing is lost."""

import asyncio
import contextlib
import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import cv2
import numpy as np
import pytest

from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.provision import provision
from billow.bus.publish import latest_event, publish_event
from billow.bus.topology import RECEIPT
from billow.cli.stack.stack import Stack
from billow.client import Billow
from billow.runtime.errors import BillowError
from billow.schemas.events import Completed
from billow.testkit.consuming import dead_letters, settled, until
from billow.testkit.events import make_analyzed
from samples.receipts import render_receipt

pytestmark = [pytest.mark.component, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

PATIENCE = 150
ENCRYPTED = b"/Encrypt << /Filter /Standard /V 2 /R 3 /Length 128 /P -4 /O <%b> /U <%b> >> /ID [<00> <00>]" % (
    (b"0" * 64,) * 2
)


async def run(*command: str, **environ: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "1000", **environ},
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def pdf(pages: int = 0, trailer: bytes = b"") -> bytes:
    """A PDF of empty pages, without a table of what lies where: readers look for it themselves."""
    kids = b" ".join(b"%d 0 R" % (number + 3) for number in range(pages))
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, pages),
        *[b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 400] >>"] * pages,
    ]
    body = b"".join(b"%d 0 obj\n%b\nendobj\n" % (number, part) for number, part in enumerate(parts, start=1))
    return b"%PDF-1.7\n" + body + b"trailer << /Root 1 0 R /Size %d %b >>\n%%%%EOF\n" % (len(parts) + 1, trailer)


@pytest.fixture
def taken_port() -> Generator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


async def test_up_on_a_port_that_is_taken_says_so(tmp_path: Path, taken_port: int) -> None:
    code, out, err = await run(
        "billow.cli", "up", "--data", str(tmp_path), "--port", str(taken_port), "--model", "rules"
    )
    assert (code, out) == (3, "")
    assert f"Port {taken_port} of 127.0.0.1 is in use" in err
    assert "Choose another port, or stop what uses it." in err


async def test_a_service_whose_metrics_port_is_taken_says_so(taken_port: int) -> None:
    code, _, err = await run("billow.services.layout", BILLOW_METRICS_PORT=str(taken_port))
    assert code == 2
    assert f"BILLOW_METRICS_PORT: no metrics on port {taken_port}" in err
    assert "Give each process of a machine a port of its own" in err


async def test_up_in_a_folder_that_cannot_be_made_says_so() -> None:
    code, out, err = await run("billow.cli", "up", "--data", "/dev/null/data", "--port", "0", "--model", "rules")
    assert (code, out) == (3, "")
    assert "/dev/null/data" in err
    assert "choose another folder" in err
    assert "Traceback" not in err


async def test_a_database_in_a_folder_that_cannot_be_made_says_so() -> None:
    database = "sqlite+aiosqlite:////dev/null/data/records.db"
    code, _, err = await run("billow.services.receipt", BILLOW_DATABASE_URL=database, BILLOW_NATS_URL="nats://[::1]:9")
    assert code == 2
    assert "no records can be kept in /dev/null/data" in err
    assert "BILLOW_DATABASE_URL" in err
    assert "Traceback" not in err


async def test_a_name_that_is_no_utf8_is_read_too(stack: Stack, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = render_receipt(1)[0]
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(photo)
    (folder / "long" / ("n" * 200)).mkdir(parents=True)
    (folder / "good.png").write_bytes(photo)
    code, out, err = await run("billow.cli", "extract", str(folder), BILLOW_NATS_URL=stack.url)
    assert (code, err) == (0, "")
    assert [Path(json.loads(line)["source"]).name for line in out.splitlines()] == ["caf\ufffd.png", "good.png"]
    code, out, err = await run(
        "billow.cli", "submit", os.fsdecode(bytes(folder) + b"/caf\xe9.png"), BILLOW_NATS_URL=stack.url
    )
    assert (code, err) == (0, "")
    assert out.endswith("caf\ufffd.png\n")


@pytest.mark.parametrize("command", ["extract", "submit"])
async def test_a_folder_without_documents_is_no_success(command: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to read")
    code, out, err = await run("billow.cli", command, str(tmp_path), BILLOW_NATS_URL="nats://[::1]:9")
    assert (code, out) == (2, "")
    assert f"No documents in {tmp_path}" in err
    assert ".jpg" in err


async def test_files_that_cannot_be_read_fail_with_a_reason_and_the_others_complete(
    stack: Stack, tmp_path: Path
) -> None:
    bad = {
        "encrypted.pdf": ("pdf_encrypted", "password"),
        "no-pages.pdf": ("pdf_damaged", "Open it, save it anew"),
        "empty.jpg": ("empty_file", "Send it again"),
        "nobody-writes.jpg": ("empty_file", "Send it again"),
        "gone.jpg": ("file_not_found", "Check the path"),
        "to-nowhere.jpg": ("file_not_found", "Check the path"),
        "loop.jpg": ("file_unreadable", "Check the path"),
        "file/below.jpg": ("file_unreadable", "Check the path"),
    }
    (tmp_path / "encrypted.pdf").write_bytes(pdf(1, ENCRYPTED))
    (tmp_path / "no-pages.pdf").write_bytes(pdf())
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "nobody-writes.jpg")
    (tmp_path / "to-nowhere.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "file").touch()
    (tmp_path / "good.png").write_bytes(render_receipt(1)[0])
    paths = [str(tmp_path / name) for name in (*bad, "good.png")]
    code, out, err = await run("billow.cli", "extract", *paths, BILLOW_NATS_URL=stack.url)
    rows = {str(Path(row["source"]).relative_to(tmp_path)): row for row in map(json.loads, out.splitlines())}
    assert (code, err) == (1, "")
    assert list(rows) == [*bad, "good.png"]
    for name, (reason, advice) in bad.items():
        error = rows[name]["error"]
        assert error["code"] == reason, name
        assert advice in error["message"], name
    assert rows["good.png"]["status"] == "completed"
    code, _, err = await run("billow.cli", "submit", str(tmp_path / "loop.jpg"), BILLOW_NATS_URL=stack.url)
    assert code == 1
    assert "loop.jpg" in err and "Check the path." in err
    assert [process.restarts for process in stack.processes.values()] == [0] * len(stack.processes)


@pytest.fixture
def large_photo() -> bytes:
    noise = np.random.default_rng(7).integers(0, 255, (320, 320, 3), np.uint8)
    return cv2.imencode(".png", noise)[1].tobytes()


async def test_documents_outlive_a_full_disk_of_nats_server(stack: Stack, large_photo: bytes) -> None:
    assert stack.server is not None
    first = stack.server.pid
    async with Billow(stack.url) as billow:
        before = await billow.submit(large_photo, document_id="before-full")
        assert (await billow.result(before, timeout=PATIENCE)).status == "completed"

        async def is_stored() -> bool:
            record = await billow.get(before)
            return record is not None and record.status == "completed"

        # Who waits hears of a record a moment before it is stored.
        await until(is_stored, timeout=PATIENCE)
        # The next large write fails, as on a full disk, but not that of the log; whoever is started anew has room.
        room = stack.server.log_file.stat().st_size + 50_000
        assert len(large_photo) > room, "it does not fit"
        resource.prlimit(first, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        accepted: str | None = None

        async def is_accepted() -> bool:
            nonlocal accepted
            with contextlib.suppress(BillowError, TimeoutError):
                accepted = await billow.submit(large_photo, document_id="while-full")
            return accepted is not None

        await until(is_accepted, timeout=PATIENCE)
        assert stack.server.pid != first, "it was started again"
        assert (await billow.result("while-full", timeout=PATIENCE)).status == "completed"
        assert await is_stored(), "nothing is lost"


@contextlib.asynccontextmanager
async def receipt_service(url: str, database: Path, ready: Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    environ = {
        "BILLOW_NATS_URL": url,
        "BILLOW_DATABASE_URL": f"sqlite+aiosqlite:///{database}",
        "BILLOW_READY_FILE": str(ready),
        "BILLOW_STOP_WITH_PARENT": "1",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "billow.services.receipt", env=os.environ | environ, stderr=subprocess.PIPE
    )
    try:
        # It is there a moment before anything stands in it, and what comes next may limit what a file holds.
        await until(lambda: ready.exists() and bool(ready.read_text()), timeout=PATIENCE)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.communicate()


async def says(process: asyncio.subprocess.Process, words: str) -> str:
    """The first line of its log with these words."""
    assert process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while line := (await process.stderr.readline()).decode():
            if words in line:
                return line
    raise AssertionError(f"it ended without having said {words!r}")


async def test_records_wait_for_room_on_the_disk_of_the_database(tmp_path: Path) -> None:
    names = [f"doc-{number}" for number in range(40)]
    database = tmp_path / "records.db"
    async with (
        await EmbeddedServer.start(tmp_path / "nats") as server,
        await Bus.connect(server.url, name="test") as bus,
    ):
        await provision(bus)
        async with receipt_service(server.url, database, tmp_path / "ready") as service:
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            for name in names:
                await publish_event(bus, make_analyzed(name))
            line = await says(service, "it is tried again")
            assert "disk" in line
            assert not await settled(bus, RECEIPT)
            assert await latest_event(bus, Completed, "default", names[0]) is None, "nothing is said that is not kept"
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            reading = asyncio.create_task(service.communicate())
            await until(lambda: settled(bus, RECEIPT), timeout=PATIENCE)
            for name in names:
                assert await latest_event(bus, Completed, "default", name) is not None
            assert await dead_letters(bus) == 0
            service.terminate()
            await reading
    with sqlite3.connect(database) as rows:
        assert rows.execute("select count(*), count(distinct document_id) from records").fetchone() == (40, 40)
