"""Weights that a server hands out arrive as pinned, or not at all."""

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from billow.engines.errors import WeightsError
from billow.engines.manifest import Manifest, read_manifest
from billow.engines.weights import pull, pull_all, verify

DATA = b"weights " * 500_000


class Server(ThreadingHTTPServer):
    """Hands out `files`; notes what was asked for; cuts the connection after `breaks_after` bytes."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.breaks_after: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.asked.append(self.path)
        data = server.files.get(self.path.partition("?")[0])
        if data is None:
            self.send_error(404, "Nothing here")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a client that has seen enough hangs up
            self.wfile.write(data[: server.breaks_after])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def model(folder: Path, url: str, data: bytes = DATA, name: str = "det") -> Manifest:
    (folder / name).mkdir()
    path = folder / name / "manifest.toml"
    path.write_text(
        f'name = "{name}"\nversion = "1.0.0"\ntask = "text-detection"\nruntimes = ["onnxruntime"]\n'
        f'licence = "MIT"\ndescription = "A toy."\n[weights]\nkind = "url"\nurl = "{url}"\n'
        f'sha256 = "{hashlib.sha256(data).hexdigest()}"\nsize = {len(data)}\n'
    )
    return read_manifest(path)


def kept(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file() and ".locks" not in path.parts]


def test_it_comes_once_with_progress_and_is_checked_before_every_use(
    server: Server, tmp_path: Path, cache: Path
) -> None:
    server.files["/v1/det.onnx"] = DATA
    wanted = model(tmp_path, f"{server.url}/v1/det.onnx?token=x")
    with pytest.raises(WeightsError, match="run `billow models pull det`") as absent:
        verify(wanted, cache)
    assert absent.value.code == "weights_missing"
    seen: list[tuple[int, int]] = []
    path = pull(wanted, cache, lambda done, total: seen.append((done, total)))
    assert path is not None and path.read_bytes() == DATA
    assert path.name == "det.onnx"
    assert [done for done, _ in seen] == sorted({done for done, _ in seen}) and len(seen) > 1
    assert seen[-1] == (len(DATA), len(DATA))
    assert pull(wanted, cache) == path == verify(wanted, cache)
    assert server.asked == ["/v1/det.onnx?token=x"]
    assert kept(cache) == [path]
    path.write_bytes(DATA[:-1] + b"!")
    with pytest.raises(WeightsError, match="not the ones its manifest pins"):
        verify(wanted, cache)


def test_two_models_with_the_same_file_fetch_it_once(server: Server, tmp_path: Path, cache: Path) -> None:
    server.files["/det.onnx"] = DATA
    both = [model(tmp_path, f"{server.url}/det.onnx", name=name) for name in ("one", "two")]
    assert len({*pull_all(both, cache).values()}) == 1
    assert server.asked == ["/det.onnx"]


@pytest.mark.parametrize("data", [DATA.replace(b"w", b"W"), DATA[:-1], DATA * 3, b""])
def test_other_bytes_are_not_kept(data: bytes, server: Server, tmp_path: Path, cache: Path) -> None:
    server.files["/det.onnx"] = data
    with pytest.raises(WeightsError, match="is not what the manifest pins") as caught:
        pull(model(tmp_path, f"{server.url}/det.onnx"), cache)
    assert caught.value.code == "weights_mismatch"
    assert hashlib.sha256(DATA).hexdigest() in str(caught.value)
    assert kept(cache) == []


def test_what_cannot_be_had_is_explained_and_may_be_tried_again(server: Server, tmp_path: Path, cache: Path) -> None:
    wanted = model(tmp_path, f"{server.url}/det.onnx")
    with pytest.raises(WeightsError, match="the server answered 404 Nothing here") as absent:
        pull(wanted, cache)
    server.files["/det.onnx"] = DATA
    server.breaks_after = 1_000_000
    with pytest.raises(WeightsError, match=f"ended after 1000000 of {len(DATA)} bytes") as broken:
        pull(wanted, cache)
    for caught in (absent, broken):
        assert caught.value.code == "weights_unavailable"
        assert caught.value.retryable
        assert "HTTPS_PROXY" in str(caught.value)
    assert kept(cache) == []
    server.breaks_after = None
    assert pull(wanted, cache) is not None


def test_a_server_that_is_not_there(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(WeightsError, match=r"http://127\.0\.0\.1:9/x\.onnx cannot be fetched: .*refused") as caught:
        pull(model(tmp_path, "http://127.0.0.1:9/x.onnx"), cache)
    assert caught.value.retryable


def test_a_shared_folder_is_an_address_too(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "det.onnx").write_bytes(DATA)
    path = pull(model(tmp_path, f"file://{tmp_path}/det.onnx"), cache)
    assert path is not None and path.read_bytes() == DATA and cache in path.parents
