"""`deploy/workstation`: the install script as it runs, and units and compose file that fit what joining writes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from billow.cli.workstation_files import Machine, files
from billow.cli.workstation_token import SiteModel, SiteToken, pack

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy" / "workstation"
SCRIPT = DEPLOY / "install.sh"
UNITS = DEPLOY / "systemd"
PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
RULES = SiteModel(name="rules_1-0-0", gpu=False)
TOKEN = SiteToken(site="desk", hub=("tls://hub.example.org:7422",), user="u", password="p-1", ca=PEM, models=(RULES,))
THREE = (RULES, SiteModel(name="det_1-0-0"), SiteModel(name="rec_1-0-0"))


def install(*options: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), *options], input=text, capture_output=True, text=True, check=False, timeout=120
    )


def executable(place: Path, script: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where the packages are installed already: ours are, and uv has nothing to do."""
    home = tmp_path / "opt" / "billow"
    executable(home / "tools" / "bin" / "uv", f'echo "$*" >> {tmp_path}/uv.log')
    executable(home / "venv" / "bin" / "billow", f'exec {sys.executable} -m billow.cli "$@"')
    return tmp_path


def test_it_installs_and_joins_then_upgrades_without_a_token_then_goes_but_for_the_configuration(root: Path) -> None:
    result = install("--root", str(root), "--token-file", "-", "--threads", "3", text=pack(TOKEN))
    assert result.returncode == 0, result.stderr
    assert "billow-worker@cpu-0.service" in result.stdout
    assert "Nothing was started" in result.stdout
    etc = root / "etc" / "billow"
    assert (etc / "workers" / "cpu-0.env").read_text() == (
        "BILLOW_MODEL='rules_1-0-0'\nBILLOW_DEVICE='cpu'\nBILLOW_THREADS='3'\n"
    )
    assert (etc / "leaf.env").stat().st_mode & 0o777 == 0o600
    assert (etc / "leaf.conf").read_bytes() == (ROOT / "deploy" / "nats" / "leaf.conf").read_bytes()
    assert (root / "opt" / "billow" / "models" / "rules" / "manifest.toml").is_file()
    assert {file.name for file in (root / "etc" / "systemd" / "system").iterdir()} == {
        file.name for file in UNITS.iterdir()
    }
    uv = (root / "uv.log").read_text()
    assert "sync --frozen" in uv
    assert "--extra openvino" in uv
    # The secret is no argument of any process, nor printed.
    assert "p-1" not in uv + result.stdout + result.stderr

    before = (etc / "leaf.env").read_text()
    (root / "opt" / "billow" / "models" / "rules" / "stale").touch()
    again = install("--root", str(root))
    assert again.returncode == 0, again.stderr
    assert (etc / "leaf.env").read_text() == before
    assert not (root / "opt" / "billow" / "models" / "rules" / "stale").exists()

    gone = install("--root", str(root), "--uninstall")
    assert gone.returncode == 0, gone.stderr
    assert not (root / "opt" / "billow").exists()
    assert not list((root / "etc" / "systemd" / "system").iterdir())
    assert (etc / "leaf.env").is_file()


_SYSTEMCTL = """
echo "$*" >> "$UNITS/../calls"
[ "$1" = disable ] || exit 0
for name; do rm -f "$UNITS/billow-workstation.target.wants/$name"; done
"""
"""A name is a name to `disable`, as to the real one: it knows no patterns."""


def test_going_leaves_no_unit_enabled(tmp_path: Path) -> None:
    """The part of the script that goes, with a root of the test's in place of the machine's."""
    units, etc = tmp_path / "units", tmp_path / "etc"
    executable(tmp_path / "bin" / "systemctl", _SYSTEMCTL)
    links = units / "billow-workstation.target.wants"
    links.mkdir(parents=True)
    (etc / "workers").mkdir(parents=True)
    (links / "billow-leaf.service").symlink_to(UNITS / "billow-leaf.service")
    for name in ("cpu-0", "gpu0-1"):
        (etc / "workers" / f"{name}.env").touch()
        (links / f"billow-worker@{name}.service").symlink_to(UNITS / "billow-worker@.service")
    text = SCRIPT.read_text()
    parts = [re.search(rf"^{name}\(\) \{{\n.*?^\}}$", text, re.M | re.S) for name in ("instances", "uninstall")]
    places = f"root='' etc={etc} units={units} home={tmp_path}/home state={tmp_path}/state"
    bodies = [part[0] for part in parts if part is not None]
    script = "\n".join(["set -eu", 'say() { echo "$*"; }', places, *bodies, "uninstall"])
    environ = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "UNITS": str(units)}
    subprocess.run(["/bin/sh", "-c", script], env=environ, check=True)
    assert list(links.iterdir()) == []
    # And what runs is stopped.
    assert (tmp_path / "calls").read_text().splitlines()[0].startswith("disable --now billow-workstation.target ")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "has not joined yet"),
        (("--token-file", "/no/such/file"), "/no/such/file cannot be read"),
        (("--token-file",), "--token-file needs a value"),
        (("--gpus", "two"), "--gpus two is not a whole number"),
        (("--model", "x; reboot"), "is no name of a model"),
        (("--frobnicate",), "--frobnicate is not known"),
    ],
)
def test_what_it_cannot_do_it_says_before_it_does_anything(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    result = install("--root", str(tmp_path), *options)
    assert result.returncode == 1
    assert says in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_bad_token_stops_it_and_starts_nothing(root: Path) -> None:
    result = install("--root", str(root), "--token-file", "-", text=pack(TOKEN)[:-9])
    assert result.returncode == 2
    assert "damaged or cut off" in result.stderr
    assert not (root / "etc" / "billow" / "leaf.env").exists()


def test_with_a_gpu_cuda_comes_out_of_the_lock(root: Path) -> None:
    result = install("--root", str(root), "--token-file", "-", "--gpus", "1", text=pack(TOKEN))
    assert result.returncode == 0, result.stderr
    uv = (root / "uv.log").read_text().splitlines()
    assert sum("export --frozen" in line and "--extra cuda" in line for line in uv) == 1
    assert next(line for line in uv if line.startswith("pip uninstall")).endswith(" onnxruntime")
    assert all("--requirement" in line for line in uv if line.startswith("pip install"))


def test_the_help_names_every_option() -> None:
    shown = install("--help")
    assert shown.returncode == 0
    parsed = set(re.findall(r"(--[a-z-]+)(?= ?[|)])", SCRIPT.read_text()))
    assert parsed == set(re.findall(r"(--[a-z-]+)", shown.stdout)) != set()


def test_the_script_is_clean() -> None:
    subprocess.run([Path(sys.executable).parent / "shellcheck", SCRIPT], check=True)


def test_units_read_what_joining_writes() -> None:
    written = set(files(TOKEN, Machine()))
    for unit in UNITS.glob("*.service"):
        for path in re.findall(r"^EnvironmentFile=/etc/billow/(.+)$", unit.read_text(), re.MULTILINE):
            assert path.replace("%i", "cpu-0") in written
    leaf = (UNITS / "billow-leaf.service").read_text()
    place = re.search(r'ca_file: "(.+)/ca.crt"', (ROOT / "deploy" / "nats" / "leaf.conf").read_text())
    assert place is not None
    assert f"BindReadOnlyPaths=/etc/billow/tls:{place[1]}" in leaf


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    for file in UNITS.iterdir():
        # The paths of an installed machine are not there.
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", file.read_text(), flags=re.MULTILINE)
        (tmp_path / file.name.replace("@.", "@cpu-0.")).write_text(text)
    units = [str(path) for path in tmp_path.iterdir()]
    environ = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    result = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False, env=environ)
    assert (result.returncode, result.stderr) == (0, "")


def test_compose_has_a_service_for_every_worker_that_joining_names_and_publishes_nothing() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    profiles = dict(re.findall(r"^  ([a-z0-9-]+):\n    <<: .*\n    profiles: \[(.*)\]", text, re.MULTILINE))

    def names(*machines: Machine) -> set[str]:
        paths = {path for machine in machines for path in files(token_for(THREE), machine)}
        return {Path(path).stem for path in paths if path.startswith("workers/")}

    def started(*wanted: str) -> set[str]:
        return {name for name, profile in profiles.items() if set(wanted) & set(profile.split(", "))}

    assert started("cpu") == names(Machine())
    assert started("gpu") == names(Machine(gpus=1))
    assert started("gpu", "gpu1") == names(Machine(gpus=2))
    for name in profiles:
        assert f"/workers/{name}.env" in text
    assert "ports:" not in text
    assert "network_mode" not in text


def token_for(models: tuple[SiteModel, ...]) -> SiteToken:
    return SiteToken(site="desk", hub=TOKEN.hub, user="u", password="p", ca=PEM, models=models)
