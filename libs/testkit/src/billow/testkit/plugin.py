"""Fixtures for every member's tests; pytest loads this by its entry point.

A server is started for each test that asks for one: it takes about 30 ms and leaves no state behind. There is no
skip: without the binary the test errs. `--nats-url` points the same tests at another server.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import nats
import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from billow.bus.embedded import EmbeddedServer
from billow.testkit.cluster import Hub


class NatsServer(Protocol):
    """A real nats-server with JetStream and no streams."""

    @property
    def url(self) -> str: ...


class ExternalServer:
    """The server of `--nats-url`. Between tests its streams are deleted, so it must be for tests alone."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url

    async def streams(self) -> list[str]:
        """Names of all streams, those of buckets too."""
        async with await nats.connect(self._url) as client:  # pyright: ignore[reportUnknownMemberType]
            found = await client.jetstream().streams_info()  # pyright: ignore[reportUnknownMemberType]
        return [str(stream.config.name) for stream in found]

    async def wipe(self) -> None:
        """Delete every stream."""
        names = await self.streams()
        async with await nats.connect(self._url) as client:  # pyright: ignore[reportUnknownMemberType]
            js = client.jetstream()  # pyright: ignore[reportUnknownMemberType]
            for name in names:
                try:
                    await js.delete_stream(name)
                except NotFoundError:
                    continue


@pytest.hookimpl(tryfirst=True)  # a profile that is named on the command line comes later
def pytest_configure() -> None:
    """Set up hypothesis and structlog for all tests."""
    # A machine that stands still for a moment says nothing about an example, nor about how it was drawn; and what a
    # change did not touch does not fail with it.
    settings.register_profile("billow", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("billow")
    # A logger that was used while one test had the logs set up must not stay bound to that test's stderr.
    configure = structlog.configure

    def uncached(*args: Any, **options: Any) -> None:
        configure(*args, **{**options, "cache_logger_on_first_use": False})

    structlog.configure = uncached


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """What a test makes of the logs ends with it."""
    yield
    structlog.reset_defaults()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("billow").addoption(
        "--nats-url",
        metavar="URL",
        help="run bus tests against this server, which must be empty and for tests alone: all its streams are deleted",
    )


@pytest_asyncio.fixture
async def embedded_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """An nats-server of this test's own, which it may kill and restart. Its log stays in `tmp_path`."""
    with tempfile.TemporaryDirectory(prefix="billow-nats-") as store:
        async with await EmbeddedServer.start(store, log_file=tmp_path / "nats-server.log") as server:
            yield server


@pytest_asyncio.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """Three servers as one hub, and a leaf; up in 2 to 3 s. Tests may kill, restart and cut them.

    The logs stay in `tmp_path`.
    """
    with tempfile.TemporaryDirectory(prefix="billow-hub-") as folder:
        async with await Hub.start(Path(folder), logs=tmp_path) as started:
            yield started


@pytest_asyncio.fixture
async def nats_server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A real, empty nats-server with JetStream: one of our own, or that of `--nats-url`."""
    url: str | None = request.config.getoption("--nats-url")
    if url is None:
        with tempfile.TemporaryDirectory(prefix="billow-nats-") as store:
            async with await EmbeddedServer.start(store, log_file=tmp_path / "nats-server.log") as server:
                yield server
        return
    external = ExternalServer(url)
    if streams := await external.streams():
        pytest.exit(f"{url} holds streams ({', '.join(streams)}); tests would delete them. Use an empty server.", 4)
    yield external
    await external.wipe()


@pytest_asyncio.fixture
async def nats_client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A connection of this test's own to `nats_server`."""
    async with await nats.connect(  # pyright: ignore[reportUnknownMemberType]
        nats_server.url, pending_size=16 * 1024 * 1024
    ) as client:
        yield client
