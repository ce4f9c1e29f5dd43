"""The steps of docs/deploy.md that need no cluster are run as they stand; nats-server is started with what they make.

In place of kubectl stands a script that keeps the secrets it is told to make.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import yaml

from billow.bus.embedded import find_binary
from billow.bus.exports.permissions import backup, client, operator
from billow.bus.exports.rights import Identity
from billow.cli.workstation_token import unpack
from helm.tests.binary import ROOT
from helm.tests.pages import blocks, page

pytestmark = [pytest.mark.component, pytest.mark.timeout(600)]

_KUBECTL = """#!/bin/sh
# Keeps the arguments, a line a call.
echo "$*" >>"$KUBECTL_CALLS"
for word; do
  case $word in
    --from-file=*|--from-env-file=*|--cert=*|--key=*)
      test -s "${word##*=}" || { echo "no file ${word##*=}" >&2; exit 1; } ;;
  esac
done
"""
_ORDER = ("certificates", "users", "values", "token", "monitoring")


def _run(folder: Path, name: str) -> None:
    (text,) = (each.text for each in blocks(page("deploy.md")) if each.name == name)
    programs = os.pathsep.join((str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=os.environ
        | {
            "PATH": programs,
            "KUBECTL_CALLS": str(folder / "calls"),
            "REGISTRY": "registry.example.org",
            "TAG": "1.2.3",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in which the steps were made, one after the other, beside links to the parts of the checkout."""
    folder = tmp_path_factory.mktemp("deploy")
    for name in ("deploy", "helm", "models", "samples"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "bin").mkdir()
    (folder / "bin" / "kubectl").write_text(_KUBECTL)
    (folder / "bin" / "kubectl").chmod(0o755)
    for name in _ORDER:
        _run(folder, name)
    yield folder


def _passwords(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / "site" / "passwords.env").read_text().splitlines())


def test_every_block_that_is_called_tested_is_run() -> None:
    assert [each.name for each in blocks(page("deploy.md")) if each.name] == list(_ORDER)


def test_the_certificate_is_for_all_names_that_are_dialled(followed: Path) -> None:
    shown = subprocess.run(
        [
            "openssl",
            "verify",
            "-CAfile",
            "ca.crt",
            "-purpose",
            "sslserver",
            "-verify_hostname",
            "nats-1.nats-headless",
            "tls.crt",
        ],
        cwd=followed / "site",
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    text = subprocess.run(
        ["openssl", "x509", "-in", "tls.crt", "-noout", "-text"],
        cwd=followed / "site",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    hybrid = yaml.safe_load((ROOT / "helm" / "billow" / "examples" / "hybrid.yaml").read_text())
    dialled = hybrid["nats"]["url"].removeprefix("tls://").partition(":")[0]
    for name in (f"DNS:{dialled}", "DNS:nats-2.nats-headless", "DNS:hub.example.org", "IP Address:127.0.0.1"):
        assert name in text
    # The servers of the cluster are clients of each other.
    assert "TLS Web Client Authentication" in text


def test_the_secrets_are_made_and_nobody_else_can_read_the_files(followed: Path) -> None:
    calls = (followed / "calls").read_text().splitlines()
    made = {call.split("create secret ")[1].split()[1] for call in calls if "create secret" in call}
    assert made == {"nats-ca", "nats-tls", "billow-nats-users"}
    assert (followed / "site").stat().st_mode & 0o777 == 0o700
    for name in ("passwords.env", "ca.key", "tls.key"):
        assert (followed / "site" / name).stat().st_mode & 0o077 == 0, name


def test_every_user_has_a_password_and_running_again_keeps_it(followed: Path) -> None:
    before = _passwords(followed)
    users = (followed / "site" / "users.conf").read_text()
    assert all(f"${name}" in users for name in before)
    assert users.count("password: $") == len(before) == len(set(before.values()))
    assert all(len(password) == 41 and password[0] == "p" for password in before.values())
    _run(followed, "users")
    assert _passwords(followed) == before


def test_the_token_has_the_password_that_the_hub_knows(followed: Path) -> None:
    token = unpack((followed / "site" / "desk.token").read_text())
    assert token.password == _passwords(followed)["BILLOW_PASSWORD_SITE_DESK"]
    assert token.ca == (followed / "site" / "ca.crt").read_text()
    assert token.hub == ("tls://hub.example.org:7422",)


@contextlib.contextmanager
def _server(folder: Path, store: Path) -> Generator[str]:
    """A nats-server with the users and the certificate that were made; its address."""
    configuration = folder / "site" / "server.conf"
    tls = 'cert_file: "./site/tls.crt", key_file: "./site/tls.key", timeout: 10'
    configuration.write_text(
        f"""
        listen: 127.0.0.1:-1
        include ./users.conf
        tls {{ {tls} }}
        jetstream {{ store_dir: "{store}", domain: hub, max_file_store: 1TB }}
        """
    )
    store.mkdir()
    with (store / "log").open("wb") as log:
        server = subprocess.Popen(
            [find_binary(), "-c", str(configuration), "--ports_file_dir", str(store)],
            cwd=folder,
            env=os.environ | _passwords(folder),
            stdout=log,
            stderr=log,
        )
    try:
        ports = store / f"{find_binary().name}_{server.pid}.ports"
        until = time.monotonic() + 90
        while not (ports.exists() and ports.read_text()):
            assert server.poll() is None and time.monotonic() < until, (store / "log").read_text()
            time.sleep(0.05)
        yield json.loads(ports.read_text())["nats"][0].rpartition("//")[2]
    finally:
        server.kill()
        server.wait()


def _environ(folder: Path, address: str, who: Identity) -> dict[str, str]:
    return os.environ | {
        "BILLOW_NATS_URL": f"tls://{address}",
        "BILLOW_NATS_DOMAIN": "hub",
        "SSL_CERT_FILE": str(folder / "site" / "ca.crt"),
        "BILLOW_NATS_USER": who.name,
        "BILLOW_NATS_INBOX_PREFIX": who.inbox_prefix,
        "BILLOW_NATS_PASSWORD": _passwords(folder)[who.password_variable],
    }


def _billow(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "billow.cli", *words]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=240)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_server_takes_all_of_it_and_lets_everybody_in(followed: Path, tmp_path: Path) -> None:
    with _server(followed, tmp_path / "store") as address:
        operators = _environ(followed, address, operator("hub"))
        _said(_billow(operators, "topology", "apply", "--yes"))
        _said(_billow(operators, "topology", "plan", "--check"))
        # What the first receipt needs is there; nobody serves a model.
        _said(_billow(_environ(followed, address, client("default", "hub")), "models", "list"))
        backups = _environ(followed, address, backup("hub"))
        assert "DOCUMENTS" in _said(_billow(backups, "backup", str(tmp_path / "backup"), "--format", "jsonl"))
        assert _billow(backups, "tenants", "set", "acme", "--rate", "5/s").returncode != 0
