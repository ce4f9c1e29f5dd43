"""What docs/deploy.md and docs/operations.md have an administrator type: options, files and names are there."""

import functools
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import typer
import yaml

from billow.cli.__main__ import app
from billow.cli.cost_bill import bill
from billow.cli.cost_values import HOURS_A_MONTH, read_plan
from helm.tests.binary import ROOT, find_helm
from helm.tests.chart import EXAMPLES, Object, containers, example, of_kind, pod_templates, render
from helm.tests.pages import Command, anchors, blocks, commands, inline_commands, links, page

PAGES = ("deploy.md", "operations.md")
VARIABLES = {"REGISTRY": "registry.example.org", "TAG": "1.2.3"}
_KINDS = {
    "cj": "CronJob",
    "cronjob": "CronJob",
    "deploy": "Deployment",
    "deployment": "Deployment",
    "job": "Job",
    "pod": "Pod",
    "pvc": "PersistentVolumeClaim",
    "secret": "Secret",
    "service": "Service",
    "svc": "Service",
    "statefulset": "StatefulSet",
}
_OF_NATS = {
    ("StatefulSet", "nats"),
    ("Service", "nats"),
    *(("Pod", f"nats-{number}") for number in range(3)),
    *(("PersistentVolumeClaim", f"nats-js-nats-{number}") for number in range(3)),
}
"""Objects of the official chart, whose release is called `nats`."""


def all_commands(program: str, *, inline: bool = True) -> list[tuple[str, Command]]:
    """With the page that each stands in."""
    found: list[tuple[str, Command]] = []
    for name in PAGES:
        text = page(name)
        here = [*commands(text, VARIABLES), *(inline_commands(text) if inline else ())]
        found += [(name, each) for each in here if each.program == program]
    return found


def _id(value: object) -> str:
    return value.line[:60] if isinstance(value, Command) else str(value)


def each_command(program: str, *, inline: bool = True) -> pytest.MarkDecorator:
    found = list(dict.fromkeys(all_commands(program, inline=inline)))
    return pytest.mark.parametrize(("name", "command"), found, ids=_id)


@functools.cache
def own_values() -> Mapping[str, str]:
    """Files that deploy.md has written, and what is in them."""
    text = "".join(each.text for each in blocks(page("deploy.md")) if each.name in {"values", "monitoring"})
    for name, value in VARIABLES.items():
        text = text.replace(f"${name}", value)
    return dict(re.findall(r"^cat > (\S+) <<END\n(.*?)^END$", text, re.M | re.S))


@functools.cache
def of_the_hybrid() -> tuple[Object, ...]:
    """Objects of hybrid.yaml, with workstations as nodes and outside of the cluster."""
    base = EXAMPLES["hybrid"]
    return (*render({}, base), *render(yaml.safe_load(own_values()["site/outside.yaml"]), base))


@functools.cache
def manifests() -> tuple[Object, ...]:
    """What deploy/backup holds."""
    files = sorted((ROOT / "deploy" / "backup").glob("*.yaml"))
    return tuple(each for path in files for each in yaml.safe_load_all(path.read_text()))


@functools.cache
def hub() -> Mapping[str, Any]:
    return yaml.safe_load((ROOT / "helm" / "nats" / "hub.yaml").read_text())


def parse(words: tuple[str, ...]) -> None:
    """As the command line does it, without running anything."""
    # Of Typer's own copy of click, which has no public types.
    here: Any = typer.main.get_command(app)
    context, rest = None, list(words)
    while hasattr(here, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in here.commands, f"there is no {rest[0]}"
        name = rest.pop(0)
        here = here.commands[name]
    here.make_context("billow", rest, parent=context)


@each_command("billow", inline=False)
def test_a_billow_command_of_a_block_is_taken_as_it_stands(name: str, command: Command) -> None:
    parse(command.words)


@each_command("billow")
def test_a_billow_command_in_the_text_is_one_that_there_is(name: str, command: Command) -> None:
    here: Any = typer.main.get_command(app)
    rest = list(command.words)
    while hasattr(here, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in here.commands, command.line
        here = here.commands[rest.pop(0)]
    known = {option for parameter in here.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)} <= known


def test_a_wrong_command_is_seen() -> None:
    for wrong in ("topologie plan", "topology plan --chek", "restore", "restore x --replicas 9", "backup"):
        with pytest.raises(Exception, match=r"no topologie|No such option|Missing parameter|less than or equal to 5"):
            parse(tuple(wrong.split()))


@functools.cache
def flags(verb: str) -> str:
    done = subprocess.run([find_helm(), *verb.split(), "--help"], capture_output=True, text=True, check=True)
    return done.stdout


@each_command("helm")
def test_helm_knows_the_options_and_the_chart_takes_the_values(name: str, command: Command, tmp_path: Path) -> None:
    verb, *rest = command.words
    if verb == "repo":
        return
    if not rest:
        assert f"\n  {verb} " in flags("")
        return
    for word in rest:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word.partition('=')[0])}\b", flags(verb)), word
    files = [rest[number + 1] for number, word in enumerate(rest) if word in {"-f", "--values"}]
    for file in files:
        assert file in own_values() or (ROOT / file).is_file(), file
    if "helm/billow" in rest:
        for file, text in own_values().items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_text(text)
        told = [str(tmp_path / word) if word in own_values() else word for word in rest]
        # Those two are of an installation.
        told = [word for word in told if word not in {"--install", "--create-namespace"}]
        done = subprocess.run([find_helm(), "template", *told], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        images = {
            str(one["image"]) for each in pod_templates(_objects(done.stdout)).values() for one in containers(each)
        }
        ours = {image for image in images if "billow/" in image}
        assert ours and all(re.fullmatch(r"registry\.example\.org/billow/[a-z-]+:1\.2\.3", image) for image in ours), (
            ours
        )
        # The others are where everybody has them.
        assert images - ours <= {"nats:2.15-alpine", "postgres:17-bookworm"}, images
    if "nats/nats" in rest:
        for key in (word.partition("=")[0] for word in rest if re.match(r"config\.[a-zA-Z.]+=", word)):
            _at(hub(), key)


def test_what_the_text_sets_at_nats_is_a_value_of_ours() -> None:
    told = re.findall(r"--set (config\.[A-Za-z.]+)=", page("deploy.md"))
    assert told
    for key in told:
        _at(hub(), key)


def test_what_the_text_sets_at_the_chart_is_a_value() -> None:
    values = yaml.safe_load((ROOT / "helm" / "billow" / "values.yaml").read_text())
    told = [
        key
        for name in PAGES
        for key in re.findall(r"--set '?((?:image|keda|metrics|gpu|nats)\.[A-Za-z.]+)=", page(name))
    ]
    assert told
    for key in told:
        _at(values, key)


def _at(values: Mapping[str, Any], path: str) -> Any:
    here: Any = values
    for key in path.split("."):
        assert key in here, path
        here = here[key]
    return here


def _objects(text: str) -> list[Object]:
    return [each for each in yaml.load_all(text, Loader=yaml.CSafeLoader) if each]


@functools.cache
def known_names() -> frozenset[tuple[str, str]]:
    """Kind and name of all that is there once the pages were followed."""
    objects = [*of_the_hybrid(), *render({}, EXAMPLES["single-node"]), *manifests(), *hub()["extraResources"]]
    found = {(each["kind"], each["metadata"]["name"]) for each in objects} | _OF_NATS
    for name in PAGES:
        for command in commands(page(name), VARIABLES):
            words = [word for word in command.words if not word.startswith("-")]
            if command.program == "kubectl" and "create" in words:
                made = words[words.index("create") + 1 :]
                place = 2 if made[0] == "secret" else 1
                found.add((_KINDS.get(made[0], made[0]), made[place]))
    return frozenset(found)


@each_command("kubectl")
def test_kubectl_is_told_of_things_that_are_there(name: str, command: Command) -> None:
    known, words = known_names(), list(command.words)
    for number, word in enumerate(words):
        if words[number - 1] == "-f" and "apply" in words:
            continue
        kind, slash, target = word.partition("/")
        if slash and kind in _KINDS:
            assert (_KINDS[kind], target) in known, command.line
        elif word in {"get", "delete", "scale", "exec"} and words[number + 1 :]:
            kind, target = words[number + 1], words[number + 2] if words[number + 2 :] else ""
            if kind in _KINDS and target and not target.startswith("-"):
                assert (_KINDS[kind], target) in known, command.line
        if word in {"-f", "--filename"} and "apply" in words and words[number + 1] != "-":
            assert (ROOT / words[number + 1]).is_file(), command.line
    if "exec" in words:
        _check_exec(words)


def _check_exec(words: list[str]) -> None:
    """Pod and container, and what runs in it if it is ours."""
    pod = next(each for each in manifests() if each["metadata"]["name"] in words)
    inside = {each["name"] for each in pod["spec"]["containers"]}
    assert words[words.index("-c") + 1] in inside
    called = words[words.index("--") + 1 :]
    if called[0] == "billow":
        parse(tuple(called[1:]))


@functools.cache
def of_three_zones() -> tuple[Object, ...]:
    """Objects of ha.yaml."""
    return tuple(example("ha"))


@pytest.mark.parametrize("objects", [of_the_hybrid, of_three_zones])
def test_the_pools_of_the_example_are_those_that_nodes_are_told(objects: Callable[[], tuple[Object, ...]]) -> None:
    told = {
        word for _, each in all_commands("kubectl") if "label" in each.words for word in each.words if "=" in word
    } | {"kubernetes.io/arch=amd64"}
    for each in of_kind(objects(), "Deployment", "Job"):
        affinity = each["spec"]["template"]["spec"].get("affinity", {}).get("nodeAffinity", {})
        for term in affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", []):
            for rule in term["matchExpressions"]:
                assert any(f"{rule['key']}={value}" in told for value in rule["values"]), rule


def _secrets(thing: Any) -> set[str]:
    """Names of secrets that something refers to."""
    if isinstance(thing, list):
        return {name for each in cast("list[Any]", thing) for name in _secrets(each)}
    if not isinstance(thing, dict):
        return set()
    found: set[str] = set()
    for key, value in cast(Object, thing).items():
        if key in {"secretKeyRef", "secretRef"}:
            found.add(value["name"])
        elif key == "secretName":
            found.add(value)
        else:
            found |= _secrets(value)
    return found


def test_every_secret_that_is_asked_for_is_made_before() -> None:
    asked = _secrets(list(of_the_hybrid())) | _secrets(list(manifests())) | _secrets(hub())
    made = {name for kind, name in known_names() if kind == "Secret"}
    assert {"billow-nats-users", "nats-ca", "nats-tls", "billow-database"} <= asked <= made


def test_every_image_that_is_asked_for_is_built_and_pushed() -> None:
    here = [each for each in commands(page("deploy.md"), VARIABLES) if each.program == "docker"]
    built = {each.words[each.words.index("-t") + 1] for each in here if each.words[0] == "build"}
    pushed = {each.words[1] for each in here if each.words[0] == "push"}
    assert built == pushed
    for each in here:
        if each.words[0] == "build":
            recipe = (ROOT / each.words[each.words.index("-f") + 1]).read_text()
            for number, word in enumerate(each.words):
                if word == "--build-arg":
                    assert re.search(rf"^ARG {each.words[number + 1].partition('=')[0]}\b", recipe, re.M), each.line
    pods = [*pod_templates(of_the_hybrid()).values(), *_pods_of(manifests())]
    asked = {str(one["image"]).rpartition(":")[0] for each in pods for one in containers(each)}
    ours = {image for image in asked if image.startswith("billow/")}
    assert ours <= {image.partition("/")[2].rpartition(":")[0] for image in built}


def _pods_of(objects: tuple[Object, ...]) -> list[Object]:
    jobs = [each["spec"]["jobTemplate"]["spec"]["template"] for each in objects if each["kind"] == "CronJob"]
    return [*jobs, *(each for each in objects if each["kind"] == "Pod")]


def test_the_sizes_are_those_that_the_command_reckons() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|[^|]*\| ([0-9.]+) \| ([0-9,]+) \|$", page("operations.md"), re.M)
    assert {name for name, _, _ in rows} == {path.stem for path in (ROOT / "deploy" / "cost").glob("*.toml")}
    for name, carried, a_month in rows:
        plan = read_plan(ROOT / "deploy" / "cost" / f"{name}.toml")
        reckoned = bill(plan).capacity.carried
        assert round(reckoned, 1) == float(carried)
        assert reckoned * HOURS_A_MONTH * 3600 / plan.load.peak == pytest.approx(
            int(a_month.replace(",", "")), rel=0.01
        )


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target, anchor in links(page(name)):
        path = (ROOT / "docs" / (target or name)).resolve()
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"
