"""Handing in what is not bytes yet: files, streams and URLs, never more than is allowed."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from billow.bus.connection import Bus
from billow.bus.images import ImageStore
from billow.bus.publish import latest_event
from billow.client import Billow, Document
from billow.client.url import is_public
from billow.runtime.errors import PermanentError, TransientError
from billow.schemas.events import Submitted
from billow.testkit.plugin import NatsServer

PHOTO = b"photo" * 1000


PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
]
PRIVATE_V6 = ["::1", "fe80::1%eth0", "fd00::1", "::ffff:192.168.1.1", "64:ff9b::a00:1", "2002:7f00:1::", "ff02::1"]


class Upload:
    """A file as web frameworks hand it over."""

    filename = "upload.jpg"

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    async def read(self, size: int = -1, /) -> bytes:
        await asyncio.sleep(0)
        return self._file.read(size)


async def parts(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100):
        yield data[start : start + 100]


async def stored(bus: Bus, document_id: str) -> tuple[bytes, str]:
    """The original, and what it is called."""
    event = await latest_event(bus, Submitted, "default", document_id)
    assert event is not None
    return await ImageStore(bus.client).get("default", event.image.key), event.source


async def test_a_file_is_read_and_called_by_its_path(billow: Billow, bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "lunch.jpg"
    path.write_bytes(PHOTO)
    for document in (path, str(path)):
        assert await stored(bus, await billow.submit(document)) == (PHOTO, str(path))
    assert await stored(bus, await billow.submit(path, source="lunch")) == (PHOTO, "lunch")


@pytest.mark.parametrize(
    ("document", "name"),
    [
        (io.BytesIO(PHOTO), ""),
        (Upload(PHOTO), "upload.jpg"),
        (parts(PHOTO), ""),
        (bytearray(PHOTO), ""),
        (memoryview(PHOTO), ""),
    ],
)
async def test_what_can_be_read_is_read_to_its_end(billow: Billow, bus: Bus, document: Document, name: str) -> None:
    assert await stored(bus, await billow.submit(document)) == (PHOTO, name)


async def test_an_open_file_has_its_name(billow: Billow, bus: Bus, tmp_path: Path) -> None:
    path = tmp_path / "lunch.jpg"
    path.write_bytes(PHOTO)
    with path.open("rb") as file:
        assert await stored(bus, await billow.submit(file)) == (PHOTO, str(path))


async def test_no_more_is_read_than_is_allowed(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BILLOW_MAX_BYTES", "1000")
    path = tmp_path / "large.jpg"
    path.write_bytes(PHOTO)
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 100
            yield bytes(100)

    documents: list[Document] = [PHOTO, path, io.BytesIO(PHOTO), Upload(PHOTO), endless()]
    async with Billow(nats_server.url) as billow:
        for document in documents:
            with pytest.raises(PermanentError, match="BILLOW_MAX_BYTES") as caught:
                await billow.submit(document)
            assert caught.value.code == "file_too_large"
    assert taken == 1_100


async def test_a_path_that_is_not_there_is_an_os_error(billow: Billow, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await billow.submit(tmp_path / "missing.jpg")
    with pytest.raises(IsADirectoryError):
        await billow.submit(str(tmp_path))


async def test_text_and_other_things_are_no_documents(billow: Billow) -> None:
    with pytest.raises(TypeError, match="binary"):
        await billow.submit(io.StringIO("text"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="no document"):
        await billow.submit(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """A web server on this machine."""

    def __init__(self) -> None:
        self.url = ""
        self.requests = 0
        self.answer: Answer = self.photo

    async def photo(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=PHOTO, content_type="image/jpeg")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        return await self.answer(request)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield site
    await runner.cleanup()


@pytest_asyncio.fixture
async def trusting(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Billow]:
    """A client that may fetch from this machine, up to 10,000 bytes."""
    monkeypatch.setenv("BILLOW_URL_ALLOW_PRIVATE", "true")
    monkeypatch.setenv("BILLOW_URL_TIMEOUT", "60")
    monkeypatch.setenv("BILLOW_MAX_BYTES", "10000")
    async with Billow(nats_server.url) as client:
        yield client


async def test_a_url_is_fetched_once_and_its_secrets_stay_out_of_the_record(
    trusting: Billow, bus: Bus, site: Site
) -> None:
    document_id = await trusting.submit(f"{site.url}/scans/lunch.jpg?token=secret")
    assert await stored(bus, document_id) == (PHOTO, "http://127.0.0.1/scans/lunch.jpg")
    assert site.requests == 1


async def test_an_address_that_is_not_public_is_refused_also_behind_a_redirect(billow: Billow, site: Site) -> None:
    port = site.url.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
        with pytest.raises(PermanentError, match="BILLOW_URL_ALLOW_PRIVATE") as caught:
            await billow.submit(f"http://{host}:{port}/x.jpg")
        assert caught.value.code == "url_private"
    assert site.requests == 0


@pytest.mark.parametrize(
    "address",
    [*PRIVATE, *PRIVATE_V6],
)
async def test_addresses_of_this_machine_and_of_private_networks_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"])
async def test_other_addresses_are(address: str) -> None:
    assert is_public(address)


async def answer_404(_: web.Request) -> web.StreamResponse:
    return web.Response(status=404)


async def answer_login(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>Log in</html>", content_type="text/html")


async def answer_large(_: web.Request) -> web.StreamResponse:
    return web.Response(body=bytes(10_001), content_type="image/png")


async def answer_without_end(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        for _ in range(1_000):
            await response.write(bytes(1_000))
    except ConnectionError:
        pass
    return response


async def answer_in_circles(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound(request.path)


async def answer_elsewhere(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("file:///etc/passwd")


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (answer_404, "url_refused", "404 Not Found"),
        (answer_login, "url_not_a_document", "text/html"),
        (answer_large, "file_too_large", "10,000"),
        (answer_without_end, "file_too_large", "10,000"),
        (answer_in_circles, "url_invalid", "URL"),
        (answer_elsewhere, "url_invalid", "URL"),
    ],
)
async def test_what_is_no_document_is_said(trusting: Billow, site: Site, answer: Answer, code: str, says: str) -> None:
    site.answer = answer
    with pytest.raises(PermanentError, match=says) as caught:
        await trusting.submit(f"{site.url}/x")
    assert caught.value.code == code


async def test_what_may_pass_is_worth_another_try(
    trusting: Billow, site: Site, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(_: web.Request) -> web.StreamResponse:
        return web.Response(status=503, headers={"Retry-After": "17"})

    hanging = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        await hanging.wait()
        return web.Response()

    site.answer = busy
    with pytest.raises(TransientError, match="503") as caught:
        await trusting.submit(f"{site.url}/x")
    assert caught.value.delay == 17
    site.answer = never
    monkeypatch.setenv("BILLOW_URL_TIMEOUT", "1")
    async with Billow(nats_server.url) as impatient:
        with pytest.raises(TransientError, match="within 1 s"):
            await impatient.submit(f"{site.url}/x")
    hanging.set()
    with pytest.raises(TransientError, match="cannot be fetched now"):
        await trusting.submit("http://127.0.0.1:9/x")
