# pyright: reportUnknownMemberType=false
"""What Skaffold's schema has against a module of skaffold.yaml. No binary of Skaffold is needed."""

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

_FILE = Path(__file__).parent / "schemas" / "skaffold-v4beta13.json"


def faults(config: dict[str, Any]) -> list[str]:
    """Empty if it is valid."""
    return [f"{e.json_path}: {e.message}" for e in _validator().iter_errors(config)]


@functools.cache
def _validator() -> Draft7Validator:
    return Draft7Validator(json.loads(_FILE.read_text()))
