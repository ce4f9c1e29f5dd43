"""The whole stack with the real models, one for each module that asks."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from billow.cli.stack.stack import Stack
from billow.client import Billow

ROOT = Path(__file__).parents[3]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    """nats-server, services and the three default workers, each a process of its own."""
    with tempfile.TemporaryDirectory(prefix="billow-test-") as folder:
        async with Stack(Path(folder)) as running:
            yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def billow(stack: Stack) -> AsyncIterator[Billow]:
    """A client of that stack."""
    async with Billow(stack.url) as client:
        yield client


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
