"""One name for one thing: folders, images, services of the chart, consumers, users of NATS, settings, the README."""

import json
import re
import tomllib
from typing import Any

import pytest
import yaml
from msgspec.structs import fields
from typer.testing import CliRunner

from billow.bus.settings import Access
from billow.cli.__main__ import app
from billow.engines.settings import CACHE
from billow.runtime.settings import ProcessSettings, load
from billow.services.layout.settings import LayoutSettings
from billow.services.ocr.settings import OcrSettings
from billow.services.receipt.settings import ReceiptSettings
from billow.services.worker.settings import WorkerSettings
from helm.tests import skaffold
from helm.tests.binary import ROOT
from helm.tests.chart import CHART, Object, of_kind

SETTINGS: dict[str, type[ProcessSettings]] = {
    "ocr": OcrSettings,
    "layout": LayoutSettings,
    "receipt": ReceiptSettings,
    "worker": WorkerSettings,
}


def _values() -> dict[str, Any]:
    return yaml.safe_load((CHART / "values.yaml").read_text())


def _readme() -> dict[str, tuple[set[str], str, str]]:
    """Rows of the README's table of services: name -> images, language, what it does. It looks like this:

    | service | image | language | what it does |
    |---|---|---|---|
    | `ocr` | `billow/ocr` | Python | one line |
    | `worker` | `billow/worker-cpu`, `billow/worker-onnx-gpu` | Python | one line |
    """
    text = (ROOT / "README.md").read_text()
    table = re.search(
        r"^\| *service *\| *image *\| *language *\|[^\n]*\n\|[-:| ]+\|\n((?:\|[^\n]*\n)+)", text, re.MULTILINE
    )
    assert table, "README.md has no table with the columns service, image, language, what it does"
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table[1].splitlines()]
    assert all(len(row) == 4 for row in rows), rows
    return {
        name.strip("`"): (set(re.findall(r"`([^`]+)`", image)), language, what) for name, image, language, what in rows
    }


def _users(text: str) -> list[str]:
    return re.findall(r'user: "([^"]+)"', text)


FOLDERS = {path.name for path in (ROOT / "services").iterdir() if (path / "pyproject.toml").is_file()}
PEOPLE = {"operator", "backup"}
"""Users of NATS who are no service."""
VARIANTS = {"cpu", "onnx-gpu", "tensorflow-gpu"}
IMAGES = {name: {f"billow/{name}"} for name in FOLDERS - {"worker"}} | {
    "worker": {f"billow/worker-{variant}" for variant in VARIANTS},
    "cli": {"billow/cli"},
}
"""Images by folder below services/, and that of the command (libs/cli)."""


def test_services_are_the_same_everywhere() -> None:
    consumers = json.loads((CHART / "files" / "consumers.json").read_text())
    users = set(_users((CHART / "files" / "users.conf").read_text())) - PEOPLE
    assert set(SETTINGS) == FOLDERS
    assert set(_values()["services"]) == FOLDERS - {"worker"}
    assert {each["service"] for each in consumers["consumers"] + consumers["models"]} == FOLDERS
    assert {user for user in users if not user.startswith(("client-", "worker-"))} == FOLDERS - {"worker"}


def test_a_site_at_the_hub_has_the_same_users() -> None:
    users = set(_users((ROOT / "deploy" / "nats" / "users.conf").read_text()))
    inside = set(_users((CHART / "files" / "users.conf").read_text()))
    assert inside <= users
    assert all(user.startswith("site-") for user in users - inside)


def test_every_service_is_an_artifact_of_skaffold_and_nothing_else_is() -> None:
    built = [each.image for each in skaffold.artifacts()]
    assert sorted(built) == sorted(image for images in IMAGES.values() for image in images)


def test_the_variants_of_workers_are_those_of_chart_recipe_and_package() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["$defs"]["worker"]["properties"]["variant"]["enum"]) == VARIANTS | {""}
    package = tomllib.loads((ROOT / "services" / "worker" / "pyproject.toml").read_text())
    assert set(package["project"]["optional-dependencies"]) == VARIANTS


def test_the_readme_has_a_row_for_every_service() -> None:
    rows = _readme()
    assert {name: images for name, (images, _, _) in rows.items()} == IMAGES
    for name, (_, language, what) in rows.items():
        assert language == "Python", name
        assert what, name


def test_the_users_of_the_built_in_nats_are_those_that_are_declared() -> None:
    """Write it anew: `billow topology export permissions -o helm/billow/files/users.conf`."""
    done = CliRunner().invoke(app, ["topology", "export", "permissions"])
    assert done.stdout.strip() == (CHART / "files" / "users.conf").read_text().strip()


def test_the_hub_knows_every_user_that_the_chart_connects_as(rendered: dict[str, list[Object]]) -> None:
    known = set(_users((ROOT / "deploy" / "nats" / "users.conf").read_text()))
    for name in ("hybrid", "ha"):
        data = [each["data"] for each in of_kind(rendered[name], "ConfigMap")]
        used = {each["BILLOW_NATS_USER"] for each in data if "BILLOW_NATS_USER" in each}
        assert used and used <= known


def test_the_default_workers_serve_the_models_of_the_checkout() -> None:
    models = {path.parent.name for path in (ROOT / "models").glob("*/manifest.toml")}
    assert {each["model"].partition("_")[0] for each in _values()["workers"]} <= models


def test_the_chart_has_the_version_of_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in project


def test_every_setting_is_one_that_the_process_reads(rendered: dict[str, list[Object]]) -> None:
    """A variable that nobody reads would be a value of the chart that does nothing."""
    access = {f"BILLOW_{field.name.upper()}" for field in fields(Access)}
    for name, objects in rendered.items():
        configs = {each["metadata"]["name"]: each["data"] for each in of_kind(objects, "ConfigMap")}
        for each in of_kind(objects, "Deployment"):
            component = each["metadata"]["labels"]["app.kubernetes.io/component"]
            type_ = SETTINGS.get(component.partition("-")[0])
            if type_ is None:
                continue
            data = configs[each["metadata"]["name"]]
            known = {f"BILLOW_{field.name.upper()}" for field in fields(type_)} | access | {CACHE}
            assert {key for key in data if key.startswith("BILLOW_")} <= known, f"{name}: {component}"
            assert load(type_, environ=data).metrics_port == 9464


@pytest.mark.parametrize("name", ["hybrid", "ha"])
def test_the_examples_ask_for_three_copies_at_the_hub(rendered: dict[str, list[Object]], name: str) -> None:
    for each in of_kind(rendered[name], "Deployment"):
        data = next(
            one["data"]
            for one in of_kind(rendered[name], "ConfigMap")
            if one["metadata"]["name"] == each["metadata"]["name"]
        )
        settings = load(ProcessSettings, environ=data)
        assert (settings.replicas, settings.nats_domain) == (3, "hub")


def test_dashboards_draw_metrics_that_are_counted() -> None:
    declared: set[str] = set()
    for path in [*(ROOT / "services").rglob("src/**/*.py"), *(ROOT / "libs").rglob("src/**/*.py")]:
        declared |= set(re.findall(r'"(billow_[a-z_]+)"', path.read_text()))
    for path in (CHART / "files" / "dashboards").glob("*.json"):
        board = json.loads(path.read_text())
        drawn = {
            name
            for panel in board["panels"]
            for target in panel["targets"]
            for name in re.findall(r"billow_[a-z_]+", target["expr"])
        }
        stems = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in drawn}
        assert stems and stems <= {re.sub(r"_total$", "", name) for name in declared}, path.name
