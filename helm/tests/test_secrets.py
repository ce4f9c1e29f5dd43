"""Passwords of the values reach nats-server as they are, and what the chart made or was given before stays."""

import base64
import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from billow.bus.embedded import find_binary
from helm.tests.apiserver import ApiServer
from helm.tests.binary import find_helm
from helm.tests.chart import BUILTIN, CHART, NAMESPACE, Object, RenderError, merged, named, refusal, render

READ_AS_THEY_ARE = (
    *("secret", "p0123456789abcdef", "7f3ab2", "12e5f", "0x12", "4kb4", "c2VjcmV0+/==", "p/x", "p//x", "p#x", "p=q"),
    *("p:q", "p$q", "p{q", "p(q", 'p"q', "p@q", "p%q", "p-q", "_x", "/x", "#x", "%x", "=x", "!x", "yes1", "trueish"),
)
READ_OTHERWISE = (
    *("12345678", "3M", "4kb", "1TiB", "9", "1.5", "1.5x", "2020-x", "true", "NO", "on", "-x", ".x", "(x", "[x", "{x"),
    *('"x', "$x", "$2a$10$abcdefghijkl", "p q", "p\tq", "p,q", "p;q", "p}q", "p]q", "p'q", "p\\q"),
)
_PATIENCE = 90
"""seconds"""


def _given(password: str) -> Object:
    return {"nats": {"auth": {"passwords": {"ocr": password}}}}


@pytest.mark.parametrize("password", READ_OTHERWISE)
def test_a_password_that_nats_would_read_otherwise_is_refused(password: str) -> None:
    assert "- nats.auth.passwords.ocr: nats-server would read" in refusal(_given(password))


def test_a_refusal_does_not_show_the_password() -> None:
    assert "correct horse" not in refusal(_given("correct horse"))


def _secret(objects: list[Object]) -> dict[str, str]:
    data: dict[str, str] = named(objects, "Secret", "billow-nats-users")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def _lets_in(port: int, user: str, password: str) -> bool:
    told = json.dumps({"user": user, "pass": password, "verbose": False, "pedantic": False})
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as connection, connection.makefile("rwb") as stream:
        stream.write(f"CONNECT {told}\r\nPING\r\n".encode())
        stream.flush()
        assert stream.readline().startswith(b"INFO ")
        return stream.readline() == b"PONG\r\n"


@contextlib.contextmanager
def _server(folder: Path, environ: Mapping[str, str]) -> Generator[int]:
    """A nats-server with a user for each variable, named as that; its port."""
    users = ", ".join(f"{{user: {name}, password: ${name}}}" for name in environ)
    configuration = folder / "nats.conf"
    configuration.write_text(f"listen: 127.0.0.1:-1\nauthorization {{ users: [ {users} ], timeout: 60 }}\n")
    command = [find_binary(), "-c", str(configuration), "--ports_file_dir", str(folder)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env={**os.environ, **environ}, stderr=log)
    try:
        ports = folder / f"{find_binary().name}_{server.pid}.ports"
        until = time.monotonic() + _PATIENCE
        while not (ports.exists() and ports.read_text()):
            assert server.poll() is None and time.monotonic() < until, (folder / "log").read_text()
            time.sleep(0.05)
        yield int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])
    finally:
        server.kill()
        server.wait()


@pytest.mark.component
def test_every_other_password_lets_its_user_in(tmp_path: Path) -> None:
    """By a variable, as the built-in server gets it."""
    passwords = {f"PASSWORD_{number}": password for number, password in enumerate(READ_AS_THEY_ARE)}
    with _server(tmp_path, passwords) as port:
        assert not _lets_in(port, "PASSWORD_0", "another")
        for user, password in passwords.items():
            assert _lets_in(port, user, password), password


def test_the_chart_takes_them_and_makes_such_itself() -> None:
    every = {f"user-{number}": password for number, password in enumerate(READ_AS_THEY_ARE)}
    objects = render(merged(BUILTIN, {"nats": {"auth": {"passwords": every}}}))
    secret = _secret(objects)
    assert [secret[f"BILLOW_PASSWORD_USER_{number}"] for number in range(len(every))] == list(READ_AS_THEY_ARE)
    assert secret["BILLOW_PASSWORD_OCR"].isalnum() and secret["BILLOW_PASSWORD_OCR"][0] == "p"


def test_a_server_of_somebody_else_may_read_them_as_it_likes() -> None:
    passwords = dict.fromkeys(("operator", "ocr", "layout", "receipt", "worker-rules_1-0-0"), "12345678")
    outside: Object = {"builtin": {"enabled": False}, "url": "nats://a:4222", "auth": {"passwords": passwords}}
    worker = {"name": "rules", "model": "rules_1-0-0", "runtime": "python"}
    assert render(merged(BUILTIN, {"nats": outside, "workers": [worker]}))


@pytest.fixture
def cluster() -> Iterator[ApiServer]:
    with ApiServer(render(BUILTIN)) as server:
        yield server


def _upgrade(cluster: ApiServer, tmp_path: Path, values: Object) -> list[Object]:
    """What an upgrade would bring. Raises RenderError: it is refused."""
    own = tmp_path / "values.json"
    own.write_text(json.dumps(merged(BUILTIN, values)))
    command = [find_helm(), "template", "billow", str(CHART), "--namespace", NAMESPACE, "--values", str(own)]
    command += ["--dry-run=server", "--disable-openapi-validation", "--kube-token", "none"]
    command += ["--kube-apiserver", cluster.url, "--show-only", "templates/secrets.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    if done.returncode:
        raise RenderError(done.stderr)
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def _database(objects: list[Object]) -> dict[str, str]:
    data: dict[str, str] = named(objects, "Secret", "billow-database")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_a_password_that_was_made_stays(cluster: ApiServer, tmp_path: Path) -> None:
    cluster.keep_secret("billow-database", {"password": "made-before"})
    cluster.keep_secret("billow-nats-users", {"BILLOW_PASSWORD_OCR": "of-the-ocr"})
    objects = _upgrade(cluster, tmp_path, {})
    assert _database(objects)["password"] == "made-before"
    assert _database(objects)["url"] == "postgresql+asyncpg://billow:made-before@billow-postgres:5432/billow"
    assert _secret(objects)["BILLOW_PASSWORD_OCR"] == "of-the-ocr"
    assert _secret(objects)["BILLOW_PASSWORD_LAYOUT"][0] == "p"


def test_a_password_that_postgresql_would_not_take_over_is_refused(cluster: ApiServer, tmp_path: Path) -> None:
    """It reads it once, when it makes its files; services would be locked out."""
    values: Object = {"database": {"builtin": {"password": "wanted-now"}}}
    assert _database(_upgrade(cluster, tmp_path, values))["password"] == "wanted-now"
    cluster.keep_secret("billow-database", {"password": "made-before"})
    with pytest.raises(RenderError, match=r"database\.builtin\.password: PostgreSQL keeps .*ALTER ROLE"):
        _upgrade(cluster, tmp_path, values)
    # Changed there and in the secret, as the message says.
    cluster.keep_secret("billow-database", {"password": "wanted-now"})
    assert _database(_upgrade(cluster, tmp_path, values))["password"] == "wanted-now"
