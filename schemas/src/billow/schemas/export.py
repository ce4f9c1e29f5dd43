"""JSON Schema of everything that crosses the wire as JSON: `python -m billow.schemas.export DIR`."""

import sys
from pathlib import Path

import msgspec

from billow.schemas.events import Analyzed, Cancelled, Completed, Erased, Failed, Promoted, Recognized, Submitted
from billow.schemas.record import Record
from billow.schemas.routing import Comparison, Route

EXPORTED: dict[str, type[msgspec.Struct]] = {
    "document.submitted.v1": Submitted,
    "document.recognized.v1": Recognized,
    "document.analyzed.v1": Analyzed,
    "document.completed.v1": Completed,
    "document.failed.v1": Failed,
    "document.cancelled.v1": Cancelled,
    "document.promoted.v1": Promoted,
    "document.erased.v1": Erased,
    "billow.record.v1": Record,
    "route.v1": Route,
    "shadow.comparison.v1": Comparison,
}
"""Tag -> the Struct behind it; also the names of the exported files."""


def schema_bytes(type_: type[msgspec.Struct]) -> bytes:
    """The JSON Schema (draft 2020-12) of one type, indented, with a final newline."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(type_)}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def export(folder: Path) -> list[Path]:
    """Write one `<tag>.schema.json` for each exported type; writing again changes nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, type_ in EXPORTED.items():
        path = folder / f"{name}.schema.json"
        path.write_bytes(schema_bytes(type_))
        written.append(path)
    return written


def main() -> None:
    """Export into the folder named by the first argument."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m billow.schemas.export DIR")
    for path in export(Path(sys.argv[1])):
        print(path)


if __name__ == "__main__":
    main()
