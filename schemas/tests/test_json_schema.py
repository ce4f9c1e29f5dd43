"""The exported JSON Schema says what the codec accepts."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from billow.schemas import codec
from billow.testkit.events import make_cancelled, make_completed, make_failed, make_recognized, make_submitted

FOLDER = Path(__file__).parents[1] / "json"


def schema(tag: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{tag}.schema.json").read_text())


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("document.submitted.v1", make_submitted()),
        ("document.recognized.v1", make_recognized()),
        ("document.completed.v1", make_completed()),
        ("document.failed.v1", make_failed()),
        ("document.cancelled.v1", make_cancelled()),
        ("billow.record.v1", make_completed().record),
    ],
)
def test_what_we_write_is_valid(tag: str, value: object) -> None:
    jsonschema.validate(json.loads(codec.encode(value)), schema(tag))


@pytest.mark.parametrize("change", [{"tenant": "A.B"}, {"image": {}}, {"kind": "novel"}, {"type": "other"}])
def test_what_we_would_refuse_is_invalid(change: dict[str, object]) -> None:
    row = json.loads(codec.encode(make_submitted())) | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(row, schema("document.submitted.v1"))
