"""A Python edit reaches running pods without a new image, and reaches the place that they import from."""

import posixpath
import re
from pathlib import Path, PurePosixPath

import pytest

from helm.tests import skaffold
from helm.tests.binary import ROOT

DEVELOPED = [each for each in skaffold.artifacts("dev") if each.sync]


def _pattern(glob: str) -> re.Pattern[str]:
    """As Skaffold reads a `src`: `**` is any number of folders, `*` stays in one."""
    parts = re.split(r"(\*\*/|\*\*|\*)", glob)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts))


def _destinations(artifact: skaffold.Artifact, path: str) -> set[str]:
    found: set[str] = set()
    for rule in artifact.sync:
        if _pattern(rule["src"]).fullmatch(path):
            found.add(posixpath.join("/", rule["dest"], path.removeprefix(rule.get("strip", ""))))
    return found


def _context() -> list[str]:
    """Files that builds see: those that .dockerignore lets in."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    inside = [line[1:] for line in lines if line.startswith("!")]
    outside = [line for line in lines[1:] if not line.startswith("!")]
    found: list[str] = []
    for path in (file for root in inside for file in _files(ROOT / root)):
        parents = [path, *(str(parent) for parent in PurePosixPath(path).parents)]
        if not any(_pattern(each).fullmatch(parent) for each in outside for parent in parents):
            found.append(path)
    return found


def _files(root: Path) -> list[str]:
    every = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
    return [path.relative_to(ROOT).as_posix() for path in every]


FILES = _context()


def test_builds_see_the_sources_and_no_tests() -> None:
    assert {"uv.lock", "services/ocr/src/billow/services/ocr/handlers.py", "samples/receipt-cafe.jpg"} <= set(FILES)
    assert not any("/tests/" in path for path in FILES)


@pytest.mark.parametrize("artifact", DEVELOPED, ids=lambda each: each.image)
def test_every_source_goes_where_the_image_has_it(artifact: skaffold.Artifact) -> None:
    sources = [path for path in FILES if path.endswith(".py")]
    assert len(sources) > 100
    for path in sources:
        # One file without a place would have the image built anew.
        assert _destinations(artifact, path) == {f"/src/{path}"}


def test_every_rule_has_files() -> None:
    for rule in (rule for artifact in DEVELOPED for rule in artifact.sync):
        assert any(_pattern(rule["src"]).fullmatch(path) for path in FILES), rule


def test_a_manifest_of_a_model_goes_along_and_the_lock_does_not() -> None:
    for artifact in DEVELOPED:
        assert _destinations(artifact, "models/rules/manifest.toml") == {"/src/models/rules/manifest.toml"}
        for path in ("uv.lock", "pyproject.toml", "services/ocr/pyproject.toml"):
            assert _destinations(artifact, path) == set()


def test_all_that_run_for_long_are_synced() -> None:
    assert {each.image for each in DEVELOPED} == {"billow/ocr", "billow/layout", "billow/receipt", "billow/worker-cpu"}


def test_the_command_is_built_anew_for_what_its_jobs_do_and_for_no_service() -> None:
    (cli,) = (each for each in skaffold.artifacts("dev") if each.image == "billow/cli")
    (production,) = (each for each in skaffold.artifacts() if each.image == "billow/cli")
    assert cli.sync == ()
    assert (cli.context, cli.dockerfile, cli.target) == (production.context, production.dockerfile, production.target)
    watched = tuple(f"{path}/" for path in cli.rebuilt_for)
    edits = {path: f"{path}/".startswith(watched) for path in FILES if path.endswith((".py", ".lock"))}
    assert edits["uv.lock"] and edits["libs/cli/src/billow/cli/__main__.py"]
    assert any(edit for path, edit in edits.items() if path.startswith("libs/bus/src/billow/bus/topology/"))
    assert not any(edit for path, edit in edits.items() if path.startswith(("services/", "schemas/")))
