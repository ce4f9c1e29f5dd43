"""`billow cancel`, with all services and no model that could read anything."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from billow.cli.stack.stack import Stack
from samples.receipts import render_receipt

pytestmark = [pytest.mark.component, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def blind_stack() -> AsyncIterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="billow-test-") as folder:
        async with Stack(Path(folder), models=("rules",)) as running:
            yield running


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "receipt.png"
    path.write_bytes(render_receipt(1)[0])
    return path


async def billow(stack: Stack, *args: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "billow.cli", *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "COLUMNS": "120", "BILLOW_NATS_URL": stack.url},
    )
    out, err = await asyncio.wait_for(process.communicate(), 150)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_a_document_is_taken_back_and_says_so_ever_after(blind_stack: Stack, photo: Path) -> None:
    code, _, err = await billow(blind_stack, "submit", str(photo), "--id", "doc-1")
    assert (code, err) == (0, "")
    code, out, err = await billow(blind_stack, "cancel", "doc-1", "--reason", "The wrong photo.", "--wait", "120")
    row = json.loads(out)
    assert (code, err, row["status"], row["source"]) == (0, "", "cancelled", str(photo))
    assert row["error"]["code"] == "cancelled"
    assert "The wrong photo." in row["error"]["message"]
    code, out, _ = await billow(blind_stack, "get", "doc-1", "--format", "table")
    assert code == 1
    assert "The wrong photo." in out
    assert "cancelled" in out


async def test_what_was_never_handed_in_cannot_be_cancelled(blind_stack: Stack) -> None:
    code, out, err = await billow(blind_stack, "cancel", "never-seen")
    assert (code, out) == (1, "")
    assert "never-seen" in err


async def test_what_had_failed_before_is_shown_as_it_is(blind_stack: Stack, tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    await billow(blind_stack, "submit", str(path), "--id", "doc-2")
    code, out, _ = await billow(blind_stack, "get", "doc-2", "--wait", "120")
    assert (code, json.loads(out)["status"]) == (1, "failed")
    code, out, err = await billow(blind_stack, "cancel", "doc-2")
    assert (code, json.loads(out)["status"]) == (1, "failed")
    assert "had failed before" in err
