"""A site's token, the files it becomes, and a leaf and a worker that run from them at a real hub."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
import trustme
from typer.testing import CliRunner

from billow.bus.connection import Bus
from billow.bus.embedded import HOST, find_binary
from billow.bus.exports.permissions import Serves, worker
from billow.bus.exports.users import users_config
from billow.bus.inference import InferenceClient
from billow.bus.presence import present_workers
from billow.bus.provision import provision
from billow.bus.settings import Access
from billow.cli.__main__ import app
from billow.cli.workstation_files import Machine, workers
from billow.cli.workstation_token import SiteModel, SiteToken, pack, unpack
from billow.runtime.errors import UsageError
from billow.schemas.geometry import Page, Word
from billow.schemas.inference import Classifications, ClassifyTokens
from billow.testkit.cluster import Node
from billow.testkit.consuming import until
from billow.testkit.events import make_submitted
from billow.testkit.models import TAGGER, write_pretend_tagger
from billow.testkit.ports import free_port

ROOT = Path(__file__).parents[3]
TAGGER_TOKEN = f"{TAGGER}_1-0-0"
PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
DETECTOR = SiteModel(name="det_1-0-0")
RECOGNISER = SiteModel(name="rec_1-0-0")
RULES = SiteModel(name="rules_1-0-0", gpu=False)
TOKEN = SiteToken(
    site="desk",
    hub=("tls://hub-0.example.org:7422", "tls://hub-1.example.org:7422"),
    user="site-desk",
    password="p@ss:word/1",
    ca=PEM,
    models=(DETECTOR, RECOGNISER, RULES),
)


def read_env(file: Path) -> dict[str, str]:
    """As systemd, compose and a shell read it."""
    pairs = (shlex.split(line)[0].partition("=") for line in file.read_text().splitlines())
    return {name: value for name, _, value in pairs}


def run_join(text: str, folder: Path, *more: str) -> list[str]:
    """Returns the names of the workers."""
    result = CliRunner().invoke(app, ["workstation", "join", "-", "--folder", str(folder), *more], input=text)
    assert result.exit_code == 0, result.output
    return result.stdout.split()


def test_a_token_comes_back_as_it_was_also_when_a_terminal_broke_its_line() -> None:
    text = pack(TOKEN)
    assert text.startswith("bw1_")
    assert text.replace("_", "").replace("-", "").isalnum()
    assert unpack(text) == TOKEN
    assert unpack(f"  {text[:40]}\r\n {text[40:]}\n") == TOKEN
    assert TOKEN.urls[0] == "tls://site-desk:p%40ss%3Aword%2F1@hub-0.example.org:7422"


def test_a_token_that_is_none_or_not_whole_is_told_as_one_without_its_secret() -> None:
    text = pack(TOKEN)
    changed = text[:60] + ("A" if text[60] != "A" else "B") + text[61:]
    for wrong in ("", "hello", text[4:], text[:-8], text[:10], changed, f"{text}é", "bw1_", "bw1_AAAA"):
        with pytest.raises(UsageError) as raised:
            unpack(wrong)
        assert "Copy the whole line" in str(raised.value)
        assert TOKEN.password not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"site": "My Desk"}, "site 'My Desk'"),
        ({"hub": ()}, "No server"),
        ({"hub": ("nats://hub:4222",)}, "tls://HOST:7422"),
        ({"hub": ("tls://hub",)}, "tls://HOST:7422"),
        ({"hub": ("tls://me:secret@hub:7422",)}, "without a user"),
        ({"hub": ("tls://hub:seven",)}, "no number"),
        ({"hub": ("tls://hub:7422", "wss://hub:443")}, "not both"),
        ({"hub": ("tls://h'ub:7422",)}, "no host name"),
        ({"ca": "not one"}, "PEM"),
        ({"models": ()}, "at least one"),
        ({"models": (RULES, RULES)}, "once"),
    ],
)
def test_a_token_with_which_nobody_could_join_is_not_made(change: dict[str, Any], says: str) -> None:
    fields = {name: getattr(TOKEN, name) for name in TOKEN.__struct_fields__} | change
    with pytest.raises(UsageError) as raised:
        pack(SiteToken(**fields))
    assert says in str(raised.value)
    assert "secret" not in str(raised.value)


def models_of(machine: Machine, *models: SiteModel) -> dict[str, str]:
    return {name: values["BILLOW_MODEL"] for name, values in workers(models, machine).items()}


def test_every_slice_of_a_gpu_has_one_worker_and_the_models_take_turns() -> None:
    all_three = (DETECTOR, RECOGNISER, RULES)
    assert models_of(Machine(), *all_three) == {"cpu-0": "rules_1-0-0", "cpu-1": "det_1-0-0", "cpu-2": "rec_1-0-0"}
    assert models_of(Machine(gpus=1), *all_three) == {
        "cpu-0": "rules_1-0-0",
        "gpu0-0": "det_1-0-0",
        "gpu0-1": "rec_1-0-0",
    }
    # Each card has both, so that a card that fails takes no model along.
    assert models_of(Machine(gpus=2), *all_three) == {
        "cpu-0": "rules_1-0-0",
        "gpu0-0": "det_1-0-0",
        "gpu1-0": "rec_1-0-0",
        "gpu0-1": "rec_1-0-0",
        "gpu1-1": "det_1-0-0",
    }
    assert models_of(Machine(gpus=2, slices=1), DETECTOR) == {"gpu0-0": "det_1-0-0", "gpu1-0": "det_1-0-0"}
    assert set(models_of(Machine(gpus=3, slices=4), *all_three).values()) == {m.name for m in all_three}
    with pytest.raises(UsageError, match="1 slices"):
        workers(all_three, Machine(gpus=1, slices=1))


def test_a_slice_gets_its_share_of_its_own_card() -> None:
    found = workers((DETECTOR, RECOGNISER), Machine(gpus=2, slices=3, gpu_memory=12_000, threads=4))
    assert len(found) == 6
    assert found["gpu1-2"] == {
        "BILLOW_MODEL": found["gpu1-2"]["BILLOW_MODEL"],
        "BILLOW_DEVICE": "cuda",
        "CUDA_VISIBLE_DEVICES": "1",
        "BILLOW_GPU_MEMORY": "4000",
        "BILLOW_THREADS": "4",
    }


def test_joining_writes_what_the_leaf_and_the_workers_read_and_nobody_else_may(tmp_path: Path) -> None:
    folder = tmp_path / "billow"
    assert run_join(pack(TOKEN), folder, "--gpus", "1") == ["cpu-0", "gpu0-0", "gpu0-1"]
    leaf, common = read_env(folder / "leaf.env"), read_env(folder / "worker.env")
    assert json.loads(leaf["BILLOW_NATS_HUB"]) == list(TOKEN.urls)
    assert leaf["BILLOW_NATS_NAME"] == "leaf-desk"
    assert common == {
        "BILLOW_NATS_URL": f"nats://{leaf['BILLOW_NATS_LISTEN']}",
        "BILLOW_NATS_DOMAIN": "hub",
        "BILLOW_NATS_INBOX_PREFIX": "_INBOX.desk",
    }
    modes = {str(file.relative_to(folder)): file.stat().st_mode & 0o777 for file in folder.rglob("*") if file.is_file()}
    assert modes.pop("tls/ca.crt") == 0o644
    assert set(modes.values()) == {0o600}
    # Again with fewer: what is not wanted any more goes.
    assert run_join(pack(TOKEN), folder, "--model", "rules") == ["cpu-0"]
    assert [file.name for file in (folder / "workers").iterdir()] == ["cpu-0.env"]


def test_a_shell_and_the_leafs_configuration_read_the_same_values(tmp_path: Path) -> None:
    run_join(pack(TOKEN), tmp_path)
    read = subprocess.run(
        ["/bin/sh", "-c", '. "$1" && printf %s "$BILLOW_NATS_HUB"', "sh", tmp_path / "leaf.env"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(read.stdout) == list(TOKEN.urls)
    # Every variable that leaf.conf asks for is there, and no other.
    conf = (ROOT / "deploy" / "nats" / "leaf.conf").read_text()
    asked = {line.split("$")[1].strip() for line in conf.splitlines() if "$" in line and not line.startswith("#")}
    assert asked == set(read_env(tmp_path / "leaf.env"))


def test_a_site_may_only_serve_what_its_token_is_for(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["workstation", "join", pack(TOKEN), "--folder", str(tmp_path), "--model", "other"]
    )
    assert result.exit_code == 2
    assert "may not serve other; its token is for det_1-0-0, rec_1-0-0, rules_1-0-0" in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def test_the_operator_is_told_what_the_hub_has_to_know(tmp_path: Path) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text(PEM)
    arguments = ["workstation", "token", "desk", "--hub", "wss://hub.example.org:443", "--ca", str(ca)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    token = unpack(result.stdout)
    assert (token.user, token.ca, token.inbox_prefix) == ("site-desk", PEM, "_INBOX.desk")
    assert {model.name: model.gpu for model in token.models} == {
        "ppocr-v6-det-small_1-0-0": True,
        "ppocr-v6-rec-small_1-0-0": True,
        "rules_1-0-0": False,
    }
    assert len(token.password) == 33
    assert f"BILLOW_PASSWORD_SITE_DESK={token.password}" in result.stderr
    assert "billow topology export permissions --domain hub --site desk -o users.conf" in result.stderr
    # A site that has a password keeps it, and it is not shown.
    secret = tmp_path / "password"
    secret.write_text("kept-as-it-is\n")
    again = CliRunner().invoke(app, [*arguments, "--password-file", str(secret), "--model", "rules"])
    assert unpack(again.stdout).password == "kept-as-it-is"
    assert "kept-as-it-is" not in again.stderr
    assert "--site desk --model rules -o users.conf" in again.stderr


class Site:
    """A hub with TLS for leaves, and the folder of a site that has joined it."""

    def __init__(self, hub: Node, folder: Path) -> None:
        self.hub = hub
        self.folder = folder


@pytest_asyncio.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Made as an operator and the owner of a workstation would: by the two commands alone."""
    models = tmp_path / "models"
    write_pretend_tagger(models, {"0": "store_name"}, run_ms=1)
    monkeypatch.setenv("BILLOW_MODELS", str(models))
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST, "localhost")
    ca, crt, key = (tmp_path / name for name in ("ca.crt", "tls.crt", "tls.key"))
    authority.cert_pem.write_to_path(ca)
    certificate.private_key_pem.write_to_path(key)
    certificate.cert_chain_pems[0].write_to_path(crt)

    leaf_port = free_port()
    result = CliRunner().invoke(
        app,
        ["workstation", "token", "desk", "--hub", f"tls://localhost:{leaf_port}", "--ca", str(ca), "--model", TAGGER],
    )
    assert result.exit_code == 0, result.output
    token = unpack(result.stdout)
    identity = worker("site-desk", [Serves("token-classification", TAGGER_TOKEN)], "hub", site="desk")
    users: list[dict[str, Any]] = [{"user": "backend", "password": "backend"}]
    users += users_config([identity], {identity.name: token.password})
    more = {
        "jetstream": {"store_dir": str(tmp_path / "store"), "domain": "hub", "max_file_store": 1024**4},
        "leafnodes": {
            "host": HOST,
            "port": leaf_port,
            "no_advertise": True,
            "tls": {"cert_file": str(crt), "key_file": str(key), "timeout": 10},
        },
        "authorization": {"users": users, "timeout": 10},
    }
    folder = tmp_path / "etc"
    run_join(result.stdout, folder, "--listen", f"{HOST}:{free_port()}", "--monitor", f"{HOST}:{free_port()}")
    async with Node("hub-0", tmp_path / "hub", tmp_path, 0, more) as hub:
        await hub.restart()
        yield Site(hub, folder)


@contextlib.asynccontextmanager
async def running(command: list[str], environ: dict[str, str], log: Path) -> AsyncGenerator[asyncio.subprocess.Process]:
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*command, env=os.environ | environ, stdout=out, stderr=out)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 120)


def leaf_conf(folder: Path) -> Path:
    """The project's own; only the place of the CA is another one here, where systemd and compose mount it."""
    conf = (ROOT / "deploy" / "nats" / "leaf.conf").read_text()
    place = folder / "leaf.conf"
    place.write_text(conf.replace("/etc/nats/tls/", f"{folder}/tls/"))
    return place


async def ask(bus: Bus) -> Classifications:
    """As the layout service does."""
    words = (Word(text="Cafe", quad=(1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 1.0, 4.0)),)
    payload = ClassifyTokens(pages=(Page(width=9, height=9),), words=words)
    async with InferenceClient(bus, wait=120) as client:
        result = await client.call(
            make_submitted(),
            payload,
            task="token-classification",
            model=TAGGER_TOKEN,
            lane="interactive",
            again=False,
        )
    assert isinstance(result.output, Classifications)
    return result.output


@pytest.mark.component
@pytest.mark.timeout(400)
async def test_a_worker_serves_the_hub_from_what_a_token_became(site: Site, tmp_path: Path) -> None:
    leaf_command = [str(find_binary()), "-c", str(leaf_conf(site.folder))]
    environ = read_env(site.folder / "worker.env") | read_env(site.folder / "workers" / "cpu-0.env")
    worker_command = [sys.executable, "-m", "billow.cli", "worker", environ["BILLOW_MODEL"]]
    backend = Access(nats_user="backend", nats_password="backend")
    async with await Bus.connect(site.hub.url, name="test", domain="hub", access=backend, timeout=30) as bus:
        await provision(bus)

        async def served() -> list[str]:
            return [each.model for each in await present_workers(bus)]

        async def is_served() -> bool:
            return await served() == [TAGGER_TOKEN]

        async with running(leaf_command, read_env(site.folder / "leaf.env"), tmp_path / "leaf.log") as leaf:
            async with running(worker_command, environ, tmp_path / "worker.log") as worker_process:
                await until(is_served, 180)
                assert (await ask(bus)).labels == ("store_name",)
                # It dials out only: nothing of the site can be reached from elsewhere.
                for process in (leaf, worker_process):
                    sockets = psutil.Process(process.pid).net_connections(kind="tcp")
                    listening = [each.laddr for each in sockets if each.status == psutil.CONN_LISTEN]
                    assert {address[0] for address in listening} <= {HOST}
            assert worker_process.returncode == 0
            # It took its announcement back: nobody waits here until that would have lapsed.
            assert await served() == []


def test_without_a_ca_in_the_token_those_of_the_machine_are_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.crt"
    bundle.write_text(PEM)
    paths = ssl.get_default_verify_paths()._replace(cafile=str(bundle))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    public = SiteToken(site="desk", hub=("tls://h:1",), user="u", password="p", models=(RULES,))
    run_join(pack(public), tmp_path / "etc")
    assert (tmp_path / "etc" / "tls" / "ca.crt").read_text() == PEM
