"""What a client is told about a server that it cannot use."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from billow.bus.embedded import find_binary
from billow.client import Billow
from billow.runtime.errors import StackUnreachableError


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[str]:
    """The URL of a nats-server without JetStream."""
    command = [str(find_binary()), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(tmp_path)]
    server = subprocess.Popen([*command, "-l", str(tmp_path / "log")])
    try:
        until = time.monotonic() + 60
        while not (files := [file for file in tmp_path.glob("*.ports") if file.stat().st_size]):
            assert time.monotonic() < until
            time.sleep(0.01)
        yield json.loads(files[0].read_text())["nats"][0]
    finally:
        server.terminate()
        server.wait()


async def test_a_server_without_jetstream_is_said_with_what_to_do(plain_server: str) -> None:
    with pytest.raises(StackUnreachableError, match="JetStream"):
        await Billow(plain_server).connect()
