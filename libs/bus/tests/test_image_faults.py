"""The image store where something is missing, damaged, full, old or away."""

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import nats
import nats.js.errors
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.js import JetStreamContext, api
from nats.js.object_store import ObjectStore

from billow.bus.embedded import EmbeddedServer
from billow.bus.faults import BusyError
from billow.bus.images import ImageStore
from billow.bus.objects import info_subject
from billow.runtime.errors import PermanentError, TransientError
from billow.testkit.plugin import NatsServer

# The stock client is only partly typed.
# pyright: reportUnknownMemberType=false

KIB = 1024
STREAM = "OBJ_IMAGES_acme"
CHUNKS = "$O.IMAGES_acme.C.>"


async def _stock(js: JetStreamContext) -> ObjectStore:
    try:
        return await js.object_store("IMAGES_acme")
    except nats.js.errors.NotFoundError:
        return await js.create_object_store("IMAGES_acme")


async def _chunk_subjects(js: JetStreamContext) -> dict[str, int]:
    """Subject -> messages, for all chunks in the bucket."""
    return (await js.stream_info(STREAM, subjects_filter=CHUNKS)).state.subjects or {}


@pytest.mark.parametrize("bucket_exists", [False, True])
async def test_missing_image(store: ImageStore, bucket_exists: bool) -> None:
    if bucket_exists:
        await store.ensure_bucket("acme")
    with pytest.raises(PermanentError, match=r"not in the store.*submit again") as caught:
        await store.get("acme", "nothing/here")
    assert caught.value.code == "image_missing"


async def test_too_large_is_refused_before_it_travels(store: ImageStore, nats_client: Client) -> None:
    await store.put("acme", "k", os.urandom(2 * KIB * KIB))
    before = nats_client.stats["in_bytes"]
    with pytest.raises(PermanentError, match="2,097,152 bytes") as caught:
        await store.get("acme", "k", max_bytes=KIB * KIB)
    assert caught.value.code == "image_too_large"
    assert nats_client.stats["in_bytes"] - before < 10_000
    assert len(await store.get("acme", "k", max_bytes=2 * KIB * KIB)) == 2 * KIB * KIB


async def test_another_sha256_than_announced(store: ImageStore) -> None:
    await store.put("acme", "k", b"one")
    with pytest.raises(PermanentError, match="announced") as caught:
        await store.get("acme", "k", sha256=hashlib.sha256(b"two").hexdigest())
    assert caught.value.code == "image_damaged"


def _flip(chunks: list[bytes]) -> list[bytes]:
    return [chunks[0][:-1] + bytes([chunks[0][-1] ^ 1]), *chunks[1:]]


def _lose_last(chunks: list[bytes]) -> list[bytes]:
    return chunks[:-1]


def _lose_all(_: list[bytes]) -> list[bytes]:
    return []


def _grow(chunks: list[bytes]) -> list[bytes]:
    return [*chunks[:-1], chunks[-1] + b"more"]


def _swap(chunks: list[bytes]) -> list[bytes]:
    return chunks[::-1]


@pytest.mark.parametrize("tamper", [_flip, _lose_last, _lose_all, _grow, _swap])
async def test_damage_is_noticed(
    store: ImageStore, js: JetStreamContext, tamper: Callable[[list[bytes]], list[bytes]]
) -> None:
    chunks = [os.urandom(128 * KIB) for _ in range(4)]
    await store.put("acme", "k", b"".join(chunks))
    (subject,) = await _chunk_subjects(js)
    await js.purge_stream(STREAM, subject=subject)
    for chunk in tamper(chunks):
        await js.publish(subject, chunk)
    with pytest.raises(PermanentError, match=r"damaged.*Put it again") as caught:
        await store.get("acme", "k")
    assert caught.value.code == "image_damaged"


async def test_description_that_is_none(store: ImageStore, js: JetStreamContext) -> None:
    await store.ensure_bucket("acme")
    await js.publish(info_subject("IMAGES_acme", "k"), b"not json")
    with pytest.raises(PermanentError) as caught:
        await store.get("acme", "k")
    assert caught.value.code == "image_damaged"
    await store.put("acme", "k", b"better")
    assert await store.get("acme", "k") == b"better"


async def test_links_are_not_followed(store: ImageStore, js: JetStreamContext) -> None:
    await store.put("other", "k", b"another tenant's")
    await store.ensure_bucket("acme")
    link = {"name": "k", "bucket": "IMAGES_acme", "nuid": "x", "options": {"link": {"bucket": "IMAGES_other"}}}
    await js.publish(info_subject("IMAGES_acme", "k"), json.dumps(link).encode())
    with pytest.raises(PermanentError, match="link") as caught:
        await store.get("acme", "k")
    assert caught.value.code == "image_missing"


async def test_bucket_without_direct_get(store: ImageStore, js: JetStreamContext) -> None:
    await js.add_stream(
        name=STREAM,
        subjects=[CHUNKS, "$O.IMAGES_acme.M.>"],
        discard=api.DiscardPolicy.NEW,
        allow_rollup_hdrs=True,
        allow_direct=False,
    )
    photo = os.urandom(700 * KIB)
    await store.put("acme", "ours", photo)
    await (await _stock(js)).put("theirs", photo)
    assert await store.get("acme", "ours") == photo
    assert await store.get("acme", "theirs") == photo
    with pytest.raises(PermanentError) as caught:
        await store.get("acme", "neither")
    assert caught.value.code == "image_missing"


class ApiProxy:
    """Stands before the JetStream API as domain `proxy`, and lets a test change what direct get is asked or says."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.old_server = False
        """Direct get knows no batches, as before nats-server 2.11."""
        self.lags = False
        """Direct get is answered by a replica that has nothing yet."""

    async def start(self) -> None:
        await self._client.subscribe("$JS.proxy.API.>", cb=self._forward)
        await self._client.flush()

    async def _forward(self, msg: Msg) -> None:
        subject = msg.subject.replace("$JS.proxy.API", "$JS.API")
        direct = ".DIRECT.GET." in subject
        if direct and self.lags:
            await self._client.publish(msg.reply, headers={"Status": "404", "Description": "Message Not Found"})
            return
        data = msg.data
        if direct and data and self.old_server:
            request = json.loads(data)
            data = json.dumps({"seq": request["seq"], "next_by_subj": request["next_by_subj"]}).encode()
        if direct and data and not self.old_server:
            await self._client.publish(subject, data, reply=msg.reply)
            return
        try:
            answer = await self._client.request(subject, data, timeout=30)
            await self._client.publish(msg.reply, answer.data, headers=answer.headers)
        except NoRespondersError:
            await self._client.publish(msg.reply, headers={"Status": "503"})


@pytest_asyncio.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[ApiProxy]:
    async with await nats.connect(nats_server.url) as connected:
        proxy = ApiProxy(connected)
        await proxy.start()
        yield proxy


@pytest.mark.parametrize("fault", ["old_server", "lags"])
async def test_reads_from_an_old_server_and_a_replica_behind(nats_client: Client, proxy: ApiProxy, fault: str) -> None:
    setattr(proxy, fault, True)
    store = ImageStore(nats_client, "proxy")
    for content in (os.urandom(700 * KIB), os.urandom(300 * KIB), b""):
        sha256 = (await store.put("acme", "k", content)).sha256
        assert await store.get("acme", "k", sha256=sha256, max_bytes=KIB * KIB) == content


async def test_domain(tmp_path: Path) -> None:
    async with await EmbeddedServer.start(tmp_path, domain="hub") as server, await nats.connect(server.url) as client:
        store = ImageStore(client, "hub")
        photo = os.urandom(400 * KIB)
        await store.put("acme", "k", photo)
        assert await store.get("acme", "k") == photo
        wrong = ImageStore(client, "elsewhere", timeout=0.3)
        with pytest.raises(TransientError):
            await wrong.get("acme", "k")


async def test_bus_away_and_back(embedded_server: EmbeddedServer) -> None:
    async def ignore(_: Exception) -> None:
        """Reconnecting complains."""

    back = asyncio.Event()

    async def reconnected() -> None:
        back.set()

    connection = nats.connect(
        embedded_server.url,
        error_cb=ignore,
        reconnected_cb=reconnected,
        reconnect_time_wait=0,
        max_reconnect_attempts=-1,
    )
    async with await connection as client:
        store, patient = ImageStore(client, timeout=0.3), ImageStore(client)
        photo = os.urandom(KIB * KIB)
        await patient.put("acme", "k", photo)
        await embedded_server.kill()
        with pytest.raises(TransientError, match="does not answer"):
            await store.get("acme", "k")
        with pytest.raises(TransientError, match="does not answer"):
            await store.put("acme", "k", b"new")
        await embedded_server.restart()
        await asyncio.wait_for(back.wait(), 60)
        assert await patient.get("acme", "k") == photo
        await patient.put("acme", "k", b"new")
        assert await patient.get("acme", "k") == b"new"


async def test_full_bucket_keeps_the_old_image(store: ImageStore, js: JetStreamContext) -> None:
    await js.create_object_store("IMAGES_acme", config=api.ObjectStoreConfig(max_bytes=KIB * KIB))
    await store.put("acme", "k", b"old")
    for _ in range(3):
        with pytest.raises(BusyError, match="full") as caught:
            await store.put("acme", "k", os.urandom(3 * KIB * KIB))
        assert 1 <= caught.value.delay <= 60
    assert await store.get("acme", "k") == b"old"
    assert sum((await _chunk_subjects(js)).values()) == 1
