"""Containers are started once a session; what runs on them starts anew, on empty streams, with each test that asks.

There is no skip: without Docker and the images (`make test-integration` sees to both) the tests err.
"""

import contextlib
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path

import pytest

from integration_tests.cluster import Cluster, Containers, Plan

OpenCluster = Callable[..., contextlib.AbstractAsyncContextManager[Cluster]]


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Generator[Containers]:
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


@pytest.fixture
def open_cluster(containers: Containers, tmp_path: Path) -> OpenCluster:
    """`async with open_cluster(Plan(...)) as cluster`: a running Billow; all logs are in the test's folder then."""

    @contextlib.asynccontextmanager
    async def opened(plan: Plan | None = None) -> AsyncGenerator[Cluster]:
        # Shown when the test fails.
        sys.stderr.write(f"logs of all parts: {tmp_path / 'logs'}\n")
        async with await Cluster.open(tmp_path, plan, containers=containers) as cluster:
            try:
                yield cluster
            finally:
                for site in cluster.sites:
                    await cluster.join(site)
                for node in cluster.nodes:
                    await cluster.unpause(node)
                    await cluster.start(node)
                await cluster.until_whole()

    return opened
