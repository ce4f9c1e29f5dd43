# pyright: reportUnknownMemberType=false
"""An upload that fails while what its key means cannot be asked: the caller gets one error, and none is left over."""

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
import pytest_asyncio

from billow.bus.images import ImageStore
from billow.runtime.errors import TransientError
from billow.testkit.cluster import Node


@pytest_asyncio.fixture
async def mute_server(tmp_path: Path) -> AsyncIterator[Node]:
    """No bucket takes chunks, and who asks for a description gets no answer."""
    deny = ["$JS.API.STREAM.MSG.GET.>", "$JS.API.DIRECT.GET.>"]
    users = [{"user": "mute", "password": "secret", "permissions": {"publish": {"deny": deny}}}]
    more = {
        "authorization": {"users": users},
        "jetstream": {"store_dir": str(tmp_path / "store"), "max_file_store": 1024**4},
    }
    async with Node("mute", tmp_path, tmp_path, 0, more) as node:
        await node.restart()
        yield node


async def test_the_chunks_error_is_not_reported_as_never_retrieved(mute_server: Node) -> None:
    left: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: left.append(context))

    async def quiet(_: Exception) -> None:
        """The server says what it denies."""

    client = await nats.connect(mute_server.url, user="mute", password="secret", error_cb=quiet)
    async with client:
        with pytest.raises(TransientError):
            await ImageStore(client, timeout=0.5).put("acme", "k", b"x" * 300_000)
    gc.collect()
    await asyncio.sleep(0)
    assert left == []
