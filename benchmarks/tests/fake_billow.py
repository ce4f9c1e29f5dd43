"""Stands in for `billow` in the tests of the measurements: answers from a `<file>.json` beside each document.

A picture without one, as a measurement makes them, has the record of `BLANK`.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

BLANK: dict[str, Any] = {"status": "completed", "text_lines": ["31.00"], "timings_ms": {"total": 50.0}}


def extract(arguments: list[str]) -> int:
    """Print what lies beside each file; its own `exit` key ends the run there with that code."""
    paths = [Path(text) for text in arguments if Path(text).is_file()]
    for path in paths:
        known = Path(f"{path}.json")
        record = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else dict(BLANK)
        if "exit" in record:
            print("the stack fell over", file=sys.stderr)
            return int(record["exit"])
        if "--with-text" not in arguments:
            record.pop("text_lines", None)
        print(json.dumps({"schema": "billow.record.v1", "source": str(path), **record}), flush=True)
    return 0


def up() -> int:
    """Run one child until SIGTERM."""
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", "fake-child"]) as child:
        signal.signal(signal.SIGTERM, lambda _number, _frame: child.terminate())
        print("Billow is up", flush=True)
        child.wait()
    return 0


if __name__ == "__main__":
    sys.exit(extract(sys.argv[2:]) if sys.argv[1] == "extract" else up())
