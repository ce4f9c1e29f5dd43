# /// script
# requires-python = ">=3.11"
# dependencies = ["rapidocr==3.10.0", "onnxruntime==1.31.1", "openvino==2026.4.1", "opencv-python>=4.10", "numpy>=2"]
# ///
"""Reads image files with RapidOCR as it comes: PP-OCR small models, all cores; `onnxruntime` or `openvino` runs them.

An environment of its own (`uv run --script`), since RapidOCR brings another build of OpenCV than ours. A JSON list of
paths on standard input; one JSON object a path on standard output, `{"path", "lines", "seconds"}`, after a first one
`{"load_seconds", "version"}`. A file that cannot be read has `"lines": null`. Arguments: what runs the models, and how
many of the pictures are read once before the clock runs.
"""

# pyright: basic, reportMissingImports=false

import json
import os
import sys
import time
from importlib.metadata import version
from typing import Any


def main() -> None:
    """Read, recognise, write."""
    # RapidOCR prints; whatever it says goes to standard error.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    paths = json.load(sys.stdin)
    started = time.perf_counter()
    from rapidocr import EngineType, RapidOCR

    runs = EngineType(sys.argv[1] if len(sys.argv) > 1 else "onnxruntime")
    stages = {f"{stage}.engine_type": runs for stage in ("Det", "Cls", "Rec")}
    engine = RapidOCR(params={"Global.log_level": "error", **stages})
    print(json.dumps({"load_seconds": time.perf_counter() - started, "version": version("rapidocr")}), file=out)
    # As a process that has run for a while; `accuracy` counts the first picture like all others.
    for path in paths[: int(sys.argv[2]) if len(sys.argv) > 2 else 0]:
        read(engine, path)
    for path in paths:
        started = time.perf_counter()
        lines = read(engine, path)
        seconds = time.perf_counter() - started
        print(json.dumps({"path": path, "lines": lines, "seconds": seconds}), file=out, flush=True)


def read(engine: Any, path: str) -> list[str] | None:
    """The texts of one image, or None if RapidOCR refuses it."""
    try:
        texts = engine(path).txts
    except Exception as e:  # Whatever it is, the other files go on.
        print(f"{path}: {e!r}", file=sys.stderr)
        return None
    return list(texts or ())


if __name__ == "__main__":
    main()
