"""Containers are started once a session; what runs on them starts anew, on empty streams, with each test that asks.

Tests that need the usual plan share one running cluster, and are run one after the other for that.

There is no skip: without Docker, the images (`make test-integration` sees to both) or room on the disk the tests err.
"""

import contextlib
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from pathlib import Path

import pytest
import pytest_asyncio

from integration_tests.cluster import Cluster, Containers, Plan
from integration_tests.cluster.leftovers import remove_leftovers
from integration_tests.images import NATS, POSTGRES
from integration_tests.images.engine import check_engine

OpenCluster = Callable[..., contextlib.AbstractAsyncContextManager[Cluster]]

_ORDER = ("", "engine", "containers", "running_cluster", "open_cluster")
"""Fixtures; tests that need a later one come later, so that the shared cluster is there only while it is needed."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick ones first, those that share something beside each other, the long chaos last."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        needs: list[str] = getattr(item, "fixturenames", [])
        return "test_chaos" in item.nodeid, max((_ORDER.index(name) for name in needs if name in _ORDER), default=0)

    items.sort(key=place)


@pytest.fixture(scope="session")
def engine() -> None:
    """Docker with all that the tests need, and nothing in it of a run that was killed."""
    check_engine((NATS, POSTGRES))
    if removed := remove_leftovers():
        sys.stderr.write(f"removed of a test run that was killed: {', '.join(removed)}\n")


@pytest.fixture(scope="session")
def containers(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Generator[Containers]:
    """A hub of three nodes, two leaves and PostgreSQL, ready."""
    with tempfile.TemporaryDirectory(prefix="billow-cluster-") as folder:
        running = Containers(Path(folder))
        try:
            running.start()
            yield running
        except BaseException:
            running.write_logs(tmp_path_factory.getbasetemp() / "containers")
            raise
        finally:
            running.remove()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_cluster(containers: Containers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A running Billow with the usual plan."""
    async with await Cluster.open(tmp_path_factory.mktemp("cluster"), containers=containers) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(running_cluster: Cluster) -> AsyncIterator[Cluster]:
    """The same, whole before and after; for tests with a tenant of their own, run with `loop_scope="module"`."""
    # Shown when the test fails.
    sys.stderr.write(f"logs of all parts: {running_cluster.logs}\n")
    try:
        yield running_cluster
    finally:
        await running_cluster.mend()


@pytest.fixture
def open_cluster(containers: Containers, tmp_path: Path) -> OpenCluster:
    """`async with open_cluster(Plan(...)) as cluster`: a running Billow; all logs are in the test's folder then."""

    @contextlib.asynccontextmanager
    async def opened(plan: Plan | None = None) -> AsyncGenerator[Cluster]:
        sys.stderr.write(f"logs of all parts: {tmp_path / 'logs'}\n")
        async with await Cluster.open(tmp_path, plan, containers=containers) as cluster:
            try:
                yield cluster
            finally:
                await cluster.mend(processes=False)

    return opened
