import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Add = Callable[..., Path]


@pytest.fixture
def add(tmp_path: Path) -> Add:
    """Add a document to the folder `tmp_path`: its truth, what the fake `billow` answers, what the fake peer reads."""

    def add_(
        name: str,
        *,
        fields: dict[str, str],
        lines: list[str],
        record: dict[str, Any],
        peer: list[str] | None = None,
    ) -> Path:
        picture = tmp_path / f"{name}.jpg"
        picture.write_bytes(b"not looked at")
        Path(f"{picture}.json").write_text(json.dumps(record), encoding="utf-8")
        if peer is not None:
            Path(f"{picture}.peer").write_text("\n".join(peer), encoding="utf-8")
        row = {"id": name, "image": picture.name, "fields": fields, "lines": [{"text": text} for text in lines]}
        with (tmp_path / "annotations.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")
        return picture

    return add_
