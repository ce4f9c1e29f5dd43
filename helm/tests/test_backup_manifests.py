"""deploy/backup: Kubernetes takes it, it is locked as our own pods are, and fits the hybrid example."""

import os
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from helm.tests.binary import ROOT
from helm.tests.chart import CHART, EXAMPLES, Object, containers, render
from helm.tests.kubernetes import VERSIONS, faults

FILES = sorted((ROOT / "deploy" / "backup").glob("*.yaml"))


def _objects(path: Path) -> list[Object]:
    return list(yaml.safe_load_all(path.read_text()))


def _pod(thing: Object) -> Object:
    return thing["spec"]["jobTemplate"]["spec"]["template"] if thing["kind"] == "CronJob" else thing


PODS = [_pod(each) for path in FILES for each in _objects(path) if each["kind"] in {"CronJob", "Pod"}]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_version_of_kubernetes_takes_them(path: Path) -> None:
    for thing in _objects(path):
        for version in VERSIONS:
            assert faults(thing, version) == []


def test_they_gain_nothing_and_write_only_where_they_should() -> None:
    assert len(PODS) == 2
    for pod in PODS:
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        for container in containers(pod):
            locked = container["securityContext"]
            assert locked["readOnlyRootFilesystem"] is True and locked["allowPrivilegeEscalation"] is False
            assert locked["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} == set(container["resources"]["limits"])
            assert {each["mountPath"] for each in container["volumeMounts"]} == {"/backup", "/etc/billow/ca", "/tmp"}


def test_our_image_is_that_of_the_chart() -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    ours = {one["image"] for pod in PODS for one in containers(pod) if one["image"].startswith("billow/")}
    assert ours == {f"billow/cli:{version}"}


def test_they_reach_nats_as_the_hybrid_example_does() -> None:
    values = yaml.safe_load(EXAMPLES["hybrid"].read_text())
    users = (ROOT / "deploy" / "nats" / "users.conf").read_text()
    for pod in PODS:
        ours = next(one for one in pod["spec"]["containers"] if one["image"].startswith("billow/"))
        env = {each["name"]: each.get("value") or each["valueFrom"] for each in ours["env"]}
        assert env["BILLOW_NATS_URL"] == values["nats"]["url"]
        assert env["BILLOW_NATS_DOMAIN"] == values["nats"]["domain"]
        user = env["BILLOW_NATS_USER"]
        assert f'user: "{user}"' in users and f"BILLOW_NATS_INBOX_PREFIX={env['BILLOW_NATS_INBOX_PREFIX']}" in users
        secret = env["BILLOW_NATS_PASSWORD"]["secretKeyRef"]
        assert secret == {"name": values["nats"]["auth"]["existingSecret"], "key": f"BILLOW_PASSWORD_{user.upper()}"}
    # And none of our network policies concerns them.
    for policy in (each for each in render({}, EXAMPLES["hybrid"]) if each["kind"] == "NetworkPolicy"):
        chosen = policy["spec"]["podSelector"]["matchLabels"]
        assert all(not chosen.items() <= pod["metadata"]["labels"].items() for pod in PODS)


_STUB = """#!/bin/sh
echo "$(basename "$0") $*" >>"$CALLS"
for word; do case $word in --file=*) echo dump >"${word#--file=}" ;; esac; done
"""


def _run(container: Object, folder: Path, job: str) -> None:
    """The container's script, with /backup in a folder of the test's and the programs that it calls written down."""
    script = container["command"][-1].replace("/backup", str(folder / "backup"))
    environ = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "CALLS": str(folder / "calls"),
        "JOB": job,
        "URL": "postgresql+asyncpg://billow:secret@db/billow?ssl=require",
    }
    subprocess.run([*container["command"][:-1], script], env=environ, cwd=folder, check=True)


def test_the_scripts_dump_once_copy_the_streams_and_drop_what_is_old(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("pg_dump", "billow"):
        (tmp_path / "bin" / name).write_text(_STUB)
        (tmp_path / "bin" / name).chmod(0o755)
    long_ago = time.time() - 20 * 86400
    for name in ("billow-backup-1", "before-upgrade"):
        (tmp_path / "backup" / name / "streams").mkdir(parents=True)
        os.utime(tmp_path / "backup" / name, (long_ago, long_ago))
    pod = next(pod for pod in PODS if pod["spec"].get("initContainers"))
    (database,), (streams,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    # The second time as after an attempt whose streams failed.
    _run(database, tmp_path, "billow-backup-2")
    _run(database, tmp_path, "billow-backup-2")
    _run(streams, tmp_path, "billow-backup-2")
    dump, copy = (tmp_path / "calls").read_text().splitlines()
    assert (
        dump == "pg_dump --format=custom --no-owner --file=partial postgresql://billow:secret@db/billow?sslmode=require"
    )
    assert copy == f"billow backup {tmp_path}/backup/billow-backup-2/streams"
    assert [path.name for path in (tmp_path / "backup" / "billow-backup-2").iterdir()] == ["billow.dump"]
    assert {path.name for path in (tmp_path / "backup").iterdir()} == {"billow-backup-2", "before-upgrade"}
