"""Models that only sleep, written into a folder: for testing and measuring everything around models."""

from collections.abc import Mapping
from pathlib import Path

from billow.schemas.tokens import model_token

DETECTOR, DETECTOR_TOKEN = "pretend-det", "pretend-det_1-0-0"
RECOGNISER = "pretend-rec"
TAGGER = "pretend-tagger"
OLD, NEW = "pretend-rec_1-0-0", "pretend-rec_2-0-0"
MAX_BATCH = 8
"""Lines in one run of a recogniser."""

_MANIFEST = """name = "{name}"
version = "{version}"
task = "{task}"
runtimes = ["python"]
licence = "Apache-2.0"
description = "Sleeps for as long as a model would run."

[python]
entrypoint = "{module}:{kind}"

[batching]
max_batch = {batch}
max_wait_ms = 2
"""
_DETECTOR = '''import time

import numpy as np


class Detector:
    """Finds the same two lines on every page."""

    metadata = {}

    def __init__(self, manifest, folder):
        pass

    def run(self, inputs):
        time.sleep(RUN_SECONDS)
        (page,) = inputs.values()
        marks = np.zeros((1, 1, *page.shape[2:]), np.float32)
        marks[:, :, 64:80, 64:400] = 1
        marks[:, :, 128:144, 64:400] = 1
        return {"map": marks}
'''
_RECOGNISER = '''import time

import numpy as np


class Recogniser:
    """Reads `a` in every crop."""

    metadata = {"character": "a"}

    def __init__(self, manifest, folder):
        self._text = np.array([[0, 1, 0]], np.float32)

    def run(self, inputs):
        time.sleep(RUN_SECONDS)
        count = len(next(iter(inputs.values())))
        return {"texts": np.repeat(self._text[None], count, axis=0)}
'''
_TAGGER = '''import time

import numpy as np


class Tagger:
    """Labels by place: `<line>` or `<line>.<word>` -> label."""

    device = "cpu"
    metadata = {}

    def __init__(self, manifest, folder):
        pass

    def run(self, inputs):
        if RUN_SECONDS:
            time.sleep(RUN_SECONDS)
        lines = inputs["line"].tolist()
        labels, before, word = [], None, 0
        for line in lines:
            word = word + 1 if line == before else 0
            before = line
            labels.append(LABELS.get(f"{line}.{word}") or LABELS.get(str(line)) or "")
        return {
            "labels": np.array(labels, dtype=object),
            "scores": np.full(len(labels), 0.9, np.float32),
            "groups": np.full(len(labels), -1, np.int32),
            "kind": np.array(["receipt"], dtype=object),
            "language": np.array(["en"], dtype=object),
        }

    def close(self):
        pass
'''


def write_pretend_tagger(
    folder: Path, labels: Mapping[str, str], *, version: str = "1.0.0", run_ms: float = 0.0
) -> str:
    """A model for token-classification that labels by place alone, hardly at any cost; returns its token.

    `labels` maps `<line>` or `<line>.<word>`, counted from 0, to a label. What it has no place for has none.
    """
    code = _TAGGER.replace("LABELS", repr(dict(labels)))
    home = folder / f"{TAGGER}-{version}"
    _write(home, TAGGER, version, "token-classification", "Tagger", code, run_ms, 32)
    return model_token(TAGGER, version)


def write_pretend_models(folder: Path, *, detect_ms: float, recognise_ms: float) -> None:
    """A detector, and a recogniser in two versions; each run sleeps for so many ms and uses no processor."""
    _write(folder / DETECTOR, DETECTOR, "1.0.0", "text-detection", "Detector", _DETECTOR, detect_ms, 1)
    for version in ("1.0.0", "2.0.0"):
        home = folder / f"{RECOGNISER}-{version}"
        _write(home, RECOGNISER, version, "text-recognition", "Recogniser", _RECOGNISER, recognise_ms, MAX_BATCH)


def _write(home: Path, name: str, version: str, task: str, kind: str, code: str, ms: float, batch: int) -> None:
    home.mkdir(parents=True)
    module = kind.lower()
    manifest = _MANIFEST.format(name=name, version=version, task=task, module=module, kind=kind, batch=batch)
    (home / "manifest.toml").write_text(manifest, encoding="utf-8")
    (home / f"{module}.py").write_text(code.replace("RUN_SECONDS", repr(ms / 1000)), encoding="utf-8")
