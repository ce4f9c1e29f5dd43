"""The image store, and that any stock NATS client can share it."""

import asyncio
import hashlib
import json
import os
from typing import Any

import nats
import nats.js.errors
import pytest
from nats.js import JetStreamContext, api
from nats.js.errors import ObjectNotFoundError
from nats.js.object_store import ObjectStore

from billow.bus import images
from billow.bus.images import ImageStore
from billow.bus.objects import info_subject
from billow.runtime.errors import PermanentError
from billow.testkit.plugin import NatsServer

# The stock client is only partly typed.
# pyright: reportUnknownMemberType=false

KIB = 1024
SIZES = [0, 1, 128 * KIB - 1, 128 * KIB, KIB * KIB, 4 * KIB * KIB]
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


async def _description(js: JetStreamContext, key: str) -> dict[str, Any]:
    raw = await js.get_last_msg(STREAM, info_subject("IMAGES_acme", key))
    return json.loads(raw.data or b"")


@pytest.mark.parametrize("size", SIZES)
async def test_stock_client_reads_what_we_put(store: ImageStore, js: JetStreamContext, size: int) -> None:
    data = os.urandom(size)
    info = await store.put("acme", "doc/original", data, media_type="image/jpeg")
    assert (info.key, info.size, info.sha256) == ("doc/original", size, hashlib.sha256(data).hexdigest())
    found = await (await _stock(js)).get("doc/original")
    assert (found.data or b"") == data
    assert (found.info.name, found.info.size) == ("doc/original", size)
    described = await _description(js, "doc/original")
    assert described["metadata"] == {"sha256": info.sha256, "media_type": "image/jpeg"}
    assert described["bucket"] == "IMAGES_acme"


@pytest.mark.parametrize("size", SIZES)
async def test_we_read_what_a_stock_client_put(store: ImageStore, js: JetStreamContext, size: int) -> None:
    data = os.urandom(size)
    await (await _stock(js)).put("a photo ü.jpg", data)
    assert await store.get("acme", "a photo ü.jpg", sha256=hashlib.sha256(data).hexdigest()) == data


@pytest.mark.parametrize("chunk_size", [100, 3_000_000])
async def test_we_read_chunks_of_any_size(store: ImageStore, js: JetStreamContext, chunk_size: int) -> None:
    data = os.urandom(chunk_size * 3 + 1)
    options = api.ObjectMetaOptions(max_chunk_size=chunk_size)
    await (await _stock(js)).put("k", data, meta=api.ObjectMeta(options=options))
    assert await store.get("acme", "k") == data


async def test_reads_more_than_one_request_brings(store: ImageStore) -> None:
    data = os.urandom(13 * KIB * KIB + 5)
    await store.put("acme", "big", data)
    assert await store.get("acme", "big") == data


async def test_replacing_removes_the_old_bytes(store: ImageStore, js: JetStreamContext) -> None:
    first, second = os.urandom(300 * KIB), os.urandom(200 * KIB)
    await store.put("acme", "k", first)
    before = await _chunk_subjects(js)
    await store.put("acme", "k", second)
    assert await store.get("acme", "k") == second
    async with asyncio.timeout(60):
        # Over a long way nobody waits for the old ones to go.
        while set(after := await _chunk_subjects(js)) & set(before):
            await asyncio.sleep(0.01)
    assert sorted(after.values()) == [2]


async def test_we_and_the_stock_client_replace_each_other(store: ImageStore, js: JetStreamContext) -> None:
    stock = await _stock(js)
    for round_ in range(3):
        await stock.put("k", b"stock %d" % round_)
        assert await store.get("acme", "k") == b"stock %d" % round_
        await store.put("acme", "k", b"ours %d" % round_)
        assert (await stock.get("k")).data == b"ours %d" % round_
    async with asyncio.timeout(60):
        while len(await _chunk_subjects(js)) != 1:
            await asyncio.sleep(0.01)


async def test_same_bytes_are_sent_once(
    store: ImageStore, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slowly this machine answers now, it is no long way.
    monkeypatch.setattr(images, "_NEAR_SECONDS", 60.0)
    data = os.urandom(500 * KIB)
    first = await store.put("acme", "k", data)
    stored = (await js.stream_info(STREAM)).state.last_seq
    assert await store.put("acme", "k", data) == first
    assert (await js.stream_info(STREAM)).state.last_seq == stored
    # What was stored long ago might expire before the event that names it, so its age starts anew.
    monkeypatch.setattr(images, "REUSE_SECONDS", 0.0)
    assert await store.put("acme", "k", data) == first
    assert (await js.stream_info(STREAM)).state.last_seq > stored
    assert await store.get("acme", "k") == data


async def test_sixty_readers_see_old_or_new_and_never_a_mixture(nats_server: NatsServer, store: ImageStore) -> None:
    size, versions = 200 * KIB, 5
    await store.put("acme", "k", bytes([0]) * size)
    written = asyncio.Event()

    async def rewrite() -> None:
        for version in range(1, versions):
            await store.put("acme", "k", bytes([version]) * size)
        written.set()

    async def read(reader: ImageStore) -> int:
        seen = 0
        while True:
            last = written.is_set()
            data = await reader.get("acme", "k")
            assert len(data) == size
            assert data == data[:1] * size
            assert data[0] >= seen
            seen = data[0]
            if last:
                return seen

    async with await nats.connect(nats_server.url) as second:
        readers = [store if number % 2 else ImageStore(second) for number in range(60)]
        async with asyncio.timeout(120):
            seen = await asyncio.gather(rewrite(), *(read(reader) for reader in readers))
    assert seen[1:] == [versions - 1] * 60


async def test_writers_at_once_leave_one_image_and_no_litter(
    nats_server: NatsServer, store: ImageStore, js: JetStreamContext
) -> None:
    async with await nats.connect(nats_server.url) as second:
        other = ImageStore(second)
        photos = [os.urandom(200 * KIB) for _ in range(8)]
        await asyncio.gather(*((store, other)[i % 2].put("acme", "k", photo) for i, photo in enumerate(photos)))
        kept = await store.get("acme", "k")
        assert kept in photos
        assert await other.get("acme", "k") == kept
        async with asyncio.timeout(60):
            while list((await _chunk_subjects(js)).values()) != [2]:
                await asyncio.sleep(0.01)


async def test_deleted_is_gone_for_all_and_can_come_back(store: ImageStore, js: JetStreamContext) -> None:
    await store.put("acme", "k", b"secret")
    await store.delete("acme", "k")
    await store.delete("acme", "k")
    await store.delete("acme", "never was")
    await store.delete("nobody", "k")
    with pytest.raises(PermanentError) as caught:
        await store.get("acme", "k")
    assert caught.value.code == "image_missing"
    with pytest.raises(ObjectNotFoundError):
        await (await _stock(js)).get("k")
    assert await _chunk_subjects(js) == {}
    await store.put("acme", "k", b"secret")
    assert await store.get("acme", "k") == b"secret"
    await (await _stock(js)).delete("k")
    with pytest.raises(PermanentError):
        await store.get("acme", "k")


async def test_bucket_is_made_once_and_follows_its_settings(store: ImageStore, js: JetStreamContext) -> None:
    await store.put("acme", "k", b"image")
    for _ in range(2):
        await store.ensure_bucket("acme", max_age=3600, replicas=1)
    assert (await js.stream_info(STREAM)).config.max_age == 3600
    assert await store.get("acme", "k") == b"image"
    # A put leaves alone what an operator has set.
    await store.put("acme", "k", b"other")
    assert (await js.stream_info(STREAM)).config.max_age == 3600


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_bad_key(store: ImageStore, key: str) -> None:
    with pytest.raises(PermanentError) as caught:
        await store.put("acme", key, b"")
    assert caught.value.code == "image_key_invalid"


async def test_bad_tenant(store: ImageStore) -> None:
    with pytest.raises(ValueError, match="tenant"):
        await store.put("ac.me", "k", b"")
    with pytest.raises(ValueError, match="tenant"):
        await store.get("*", "k")


async def test_over_a_long_way_the_bytes_do_not_wait_for_answers(
    store: ImageStore, js: JetStreamContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if every server were far away: the bytes go out before it is known what is there.
    monkeypatch.setattr(images, "_NEAR_SECONDS", -1.0)
    stock, photo = await _stock(js), os.urandom(700 * KIB)
    for data in (photo, photo, os.urandom(700 * KIB), b"small"):
        await store.put("acme", "k", data)
        assert await store.get("acme", "k") == data
        assert (await stock.get("k")).data == data
    await store.put("globex", "k", photo)
    assert await store.get("globex", "k") == photo
    async with asyncio.timeout(60):
        while list((await _chunk_subjects(js)).values()) != [1]:
            await asyncio.sleep(0.01)
