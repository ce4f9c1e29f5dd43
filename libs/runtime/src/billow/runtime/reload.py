"""`python -m billow.runtime.reload MODULE FOLDER...`: a process that is started anew when one of its files changes.

For development only; needs `watchfiles`. A process that ends by itself, because an edit broke it or a server is not
there yet, is started again after a pause, or at once by the next edit. Meanwhile the port of its metrics answers:
whoever takes silence for death would start a new container, without the edits.
"""

import argparse
import http.server
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from watchfiles import watch

from billow.runtime.errors import UsageError
from billow.runtime.logs import configure_logs
from billow.runtime.process import EXIT_WRONG_USAGE
from billow.runtime.settings import ProcessSettings, load

log = structlog.get_logger()

_LOOK_MS = 250
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
"""seconds until a process that ended is started again; they double"""
_STOP_SECONDS = 30.0
"""Beyond what a process has for its documents."""


class _Alive(http.server.BaseHTTPRequestHandler):
    """Says that the container is well though its process is not."""

    def do_GET(self) -> None:
        """200 for any path."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"# waiting for an edit\n")

    def log_message(self, format: str, *args: object) -> None:
        """Probes are no news."""


class Reloader:
    """Keeps one process of a module running."""

    def __init__(self, module: str, folders: Sequence[Path], settings: ProcessSettings) -> None:
        """`settings` are those of the process: how long it drains, and the port of its metrics."""
        self._port = settings.metrics_port
        self._answering: http.server.ThreadingHTTPServer | None = None
        self._command = [sys.executable, "-m", module]
        self._module = module
        self._folders = folders
        self._patience = settings.drain + _STOP_SECONDS
        self._process: subprocess.Popen[bytes] | None = None
        self._pause = _FIRST_PAUSE
        self._again_at: float | None = None

    def run(self, stopping: threading.Event) -> int:
        """Until `stopping`; returns the exit code of the last process, 0 if there was none."""
        # The first look starts it: then its files are watched already, and no edit falls in between.
        for changes in watch(*self._folders, stop_event=stopping, rust_timeout=_LOOK_MS, yield_on_timeout=True):
            if changes:
                log.info("files changed", module=self._module, files=sorted({Path(path).name for _, path in changes}))
                self._pause = _FIRST_PAUSE
                self._stop()
                self._start()
            else:
                self._look()
        return self._stop()

    def _look(self) -> None:
        """Start it, or start it again if it ended and its pause is over."""
        if self._process is None:
            self._start()
        elif (code := self._process.poll()) is None:
            return
        elif self._again_at is None:
            log.warning("ended, waiting for an edit", module=self._module, code=code, again_in_s=self._pause)
            self._again_at = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            self._answer()
        elif time.monotonic() >= self._again_at:
            self._start()

    def _answer(self) -> None:
        if self._port:
            self._answering = http.server.ThreadingHTTPServer(("", self._port), _Alive)
            threading.Thread(target=self._answering.serve_forever, daemon=True).start()

    def _start(self) -> None:
        self._again_at = None
        if self._answering is not None:
            self._answering.shutdown()
            self._answering.server_close()
            self._answering = None
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)

    def _stop(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()
        try:
            return process.wait(self._patience)
        except subprocess.TimeoutExpired:
            log.warning("did not stop in time, killing it", module=self._module)
            process.kill()
            return process.wait()


def main() -> int:
    """Returns the exit code of the last process."""
    parser = argparse.ArgumentParser(prog="python -m billow.runtime.reload", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("module", help="what `python -m` runs")
    parser.add_argument("folders", type=Path, nargs="+", help="watched, with all below")
    options = parser.parse_args()
    try:
        settings = load(ProcessSettings)
    except UsageError as e:
        sys.stderr.write(f"{e}\n")
        return EXIT_WRONG_USAGE
    configure_logs("reload", level=settings.log_level, format=settings.log_format)
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return Reloader(options.module, options.folders, settings).run(stopping)


if __name__ == "__main__":
    sys.exit(main())
