"""Runs RapidOCR in its own environment on the same files."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.extraction import RunError, tail

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "rapidocr_peer.py"

PeerEngine = Literal["onnxruntime", "openvino"]


class _Hello(msgspec.Struct, frozen=True):
    load_seconds: float
    version: str


class Reading(msgspec.Struct, frozen=True):
    """What RapidOCR read in one file."""

    path: str
    lines: list[str] | None
    """None if it could not read the file."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class PeerRun:
    """One run over some files."""

    version: str
    readings: tuple[Reading, ...]
    """One a file, in the order given."""
    load_s: float
    """Import and model loading."""
    wall_s: float
    """All of the process, including `uv`."""

    @property
    def running_s_per_document(self) -> float:
        """Seconds an image, models loaded."""
        return sum(reading.seconds for reading in self.readings) / len(self.readings)


def find_uv() -> str:
    """The `uv` to start the peer with: on the path, named by `UV`, or in the checkout's `.tools/bin`.

    Raises:
        RunError: there is none.
    """
    local = HERE.parent / ".tools" / "bin" / "uv"
    found = shutil.which("uv") or os.environ.get("UV") or (str(local) if local.is_file() else None)
    if found is None:
        raise RunError(
            "RapidOCR runs in an environment of its own, made by uv, and there is no uv. Install it, or use --no-peer."
        )
    return found


def run_peer(
    paths: Sequence[Path],
    *,
    engine: PeerEngine = "onnxruntime",
    warm_up: int = 0,
    command: Sequence[str] | None = None,
) -> PeerRun:
    """Read all files, one after the other.

    Args:
        paths: image files.
        engine: what runs the peer's models.
        warm_up: so many of the files are read once before the clock runs.
        command: instead of `uv run --script rapidocr_peer.py`.

    Raises:
        RunError: it did not end well, or did not answer for each file.
    """
    arguments = [*(command or (find_uv(), "run", "--quiet", "--script", str(SCRIPT))), engine, str(warm_up)]
    question = json.dumps([str(path.resolve()) for path in paths]).encode()
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(arguments, input=question, stdout=subprocess.PIPE, stderr=log, check=False)
        wall = time.perf_counter() - started
        lines = done.stdout.splitlines()
        if done.returncode != 0 or len(lines) != len(paths) + 1:
            raise RunError(
                f"The peer ended with code {done.returncode} and {len(lines)} lines. It said last:\n{tail(log)}"
            )
    hello = msgspec.json.decode(lines[0], type=_Hello)
    readings = tuple(msgspec.json.decode(line, type=Reading) for line in lines[1:])
    return PeerRun(version=hello.version, readings=readings, load_s=hello.load_seconds, wall_s=wall)
