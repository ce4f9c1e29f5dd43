"""The README's code, run word for word."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from billow.cli.stack.stack import Stack

pytestmark = [pytest.mark.component, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]


def snippet(root: Path, name: str) -> str:
    match = re.search(rf"<!-- snippet: {name} -->\n```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert match is not None, f"the README has no snippet {name}"
    return match[1]


@pytest.mark.parametrize("name", ["client", "plain-nats"])
async def test_the_snippet_prints_the_total_of_the_sample(stack: Stack, root: Path, name: str) -> None:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", snippet(root, name)],
        cwd=root,
        env={**os.environ, "BILLOW_NATS_URL": stack.url},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "completed Blue Heron Coffee 46.86"


async def test_the_clients_job_takes_ten_lines(root: Path) -> None:
    code = [line for line in snippet(root, "client").splitlines() if line.strip()]
    assert len(code) <= 10
