"""Runs `billow extract`, the real command, and reads the records that it prints."""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

COMMAND = (sys.executable, "-m", "billow.cli")


class RunError(Exception):
    """A program under measurement did not do its part; the message holds the end of what it said."""


class Value(msgspec.Struct, frozen=True):
    """A field, as far as it is scored."""

    value: str


class Answer(msgspec.Struct, frozen=True):
    """A record, as far as it is scored; other keys are ignored."""

    status: str
    source: str = ""
    fields: dict[str, Value] = {}
    text_lines: list[str] = []
    """What the OCR service read; only there with `--with-text`."""
    timings_ms: dict[str, float] = {}
    link_bytes: dict[str, int] = {}
    """Task -> bytes that went to its workers."""


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """One run of the command over some files."""

    answers: tuple[Answer, ...]
    """One a file, in the order given."""
    wall_s: float
    """From the start of the command to its end: includes starting and stopping a stack, if it does that."""
    running_s: float | None
    """From the first submission to the last record; None if the first record has no `total` time."""

    @property
    def running_s_per_document(self) -> float | None:
        """Seconds a document once everything runs."""
        return None if self.running_s is None else self.running_s / len(self.answers)


def split_command(text: str | None) -> tuple[str, ...]:
    """The command from a `--billow` option, split like a shell does; None gives `python -m billow.cli`."""
    return COMMAND if text is None else tuple(shlex.split(text))


def extract(
    paths: Sequence[Path],
    *,
    command: Sequence[str] = COMMAND,
    options: Sequence[str] = (),
    nats_url: str | None = None,
) -> Extraction:
    """Extract all files in one call.

    Args:
        paths: files.
        command: what to run before `extract`.
        options: further options of `extract`.
        nats_url: a running stack; None lets the command decide, by its own environment.

    Raises:
        RunError: it ended with a code other than 0 and 1, or did not print one record a file.
    """
    arguments = [*command, "extract", "--format", "jsonl", *options, *(str(path) for path in paths)]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        answers, moments, code = _run(arguments, log, environment(nats_url))
        wall = time.perf_counter() - started
        if code not in (0, 1) or len(answers) != len(paths):
            raise RunError(
                f"{shlex.join(arguments[: len(command) + 1])} ended with code {code} and {len(answers)} records "
                f"for {len(paths)} files. It said last:\n{tail(log)}"
            )
    # The first document was submitted `total` before its record came.
    first_ms = answers[0].timings_ms.get("total") if answers else None
    running = None if first_ms is None else moments[-1] - moments[0] + first_ms / 1000
    return Extraction(answers=tuple(answers), wall_s=wall, running_s=running)


def _run(arguments: Sequence[str], log: IO[bytes], env: dict[str, str] | None) -> tuple[list[Answer], list[float], int]:
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=log, env=env, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            answers, moments = _read(process.stdout)
        except RunError:
            process.terminate()
            raise
        return answers, moments, process.wait()


def environment(nats_url: str | None) -> dict[str, str] | None:
    """What a child process shall see: ours, with `BILLOW_NATS_URL` set if a URL is given."""
    return None if nats_url is None else {**os.environ, "BILLOW_NATS_URL": nats_url}


def tail(log: IO[bytes], size: int = 2000) -> str:
    """The last bytes of a file that another process wrote."""
    log.seek(0, 2)
    log.seek(max(0, log.tell() - size))
    return log.read().decode(errors="replace")


def _read(stream: IO[bytes]) -> tuple[list[Answer], list[float]]:
    """Every record and the moment at which it came."""
    decoder = msgspec.json.Decoder(Answer)
    answers: list[Answer] = []
    moments: list[float] = []
    for line in stream:
        if line.strip():
            try:
                answers.append(decoder.decode(line))
            except msgspec.DecodeError as e:
                raise RunError(f"Not a record on standard output: {line[:200]!r} ({e})") from e
            moments.append(time.perf_counter())
    return answers, moments
