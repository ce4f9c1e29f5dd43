"""What dies is started again: nats-server and the services alike. Needs no model weights."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

from billow.cli.stack.process import SupervisedProcess
from billow.cli.stack.stack import Stack
from billow.client import Billow
from billow.runtime.errors import StackUnreachableError
from billow.testkit.consuming import until


@pytest.mark.component
@pytest.mark.timeout(400)
async def test_a_dead_nats_server_is_started_again_and_documents_go_on(root: Path) -> None:
    document = (root / "samples/invoice.pdf").read_bytes()
    with tempfile.TemporaryDirectory(prefix="billow-test-") as folder:
        async with Stack(Path(folder), models=("rules",)) as stack, Billow(stack.url) as billow:
            first = await billow.submit(document)
            assert stack.server is not None
            pid = stack.server.pid
            await stack.server.kill()
            await until(
                lambda: stack.server is not None and stack.server.pid != pid and stack.server.running, timeout=90
            )
            second = await billow.submit(document)
            for name in (first, second):
                assert (await billow.result(name, timeout=150)).status == "completed"


SCRIPT = """
import os, pathlib, sys, time
ready = pathlib.Path(os.environ["BILLOW_READY_FILE"])
lives = ready.with_suffix(".lives")
lives.write_text(lives.read_text() + "x" if lives.exists() else "x")
if sys.argv[1] == "ready":
    ready.write_text(str(os.getpid()))
    time.sleep(3 if lives.read_text() == "x" else 600)
sys.exit(3)
"""


def supervised(folder: Path, behaviour: str) -> SupervisedProcess:
    command = [sys.executable, "-c", SCRIPT, behaviour]
    return SupervisedProcess("part", command, environ=dict(os.environ), folder=folder)


async def test_a_part_that_loses_the_bus_for_long_is_started_again(tmp_path: Path) -> None:
    process = supervised(tmp_path, "ready")
    process.start()
    await process.wait_ready(90)
    await until(lambda: process.restarts == 1 and process.ready, timeout=90)
    await process.stop()


async def test_a_part_that_never_finds_the_bus_is_given_up(tmp_path: Path) -> None:
    process = supervised(tmp_path, "not ready")
    process.start()
    with pytest.raises(StackUnreachableError, match="cannot start"):
        await process.wait_ready(90)
    assert process.restarts == 0
    await process.stop()
