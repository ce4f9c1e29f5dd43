"""When nats-server could not write, as on a full disk, it stores nothing more in that stream until it starts anew."""

import os
import shutil
from pathlib import Path

_SIGN = b"critical write error"
"""What it logs then (seen with 2.15)."""
_LEAST_ROOM = 64 * 1024 * 1024
"""bytes"""
_FULL = 1024 * 1024
"""bytes left with which not even the log may be written."""


class FullDisk:
    """Notices a failed write in the log of a server, and when there is room again. For one task at a time."""

    def __init__(self, store_dir: Path, log_file: Path) -> None:
        self._store_dir = store_dir
        self._log_file = log_file
        self._read_to = 0
        self.failed = False
        """Whether a write failed since the server was started."""
        self.forget()

    def look(self) -> bool:
        """Read what was logged since; True once a write failed and there is room, so a new start helps."""
        try:
            with self._log_file.open("rb") as log:
                if os.fstat(log.fileno()).st_size < self._read_to:
                    # The server began a new file.
                    self._read_to = 0
                log.seek(self._read_to)
                lines, _, rest = log.read().rpartition(b"\n")
                self.failed |= _SIGN in lines.lower()
                self._read_to = log.tell() - len(rest)
            free = shutil.disk_usage(self._store_dir).free
            self.failed |= free < _FULL
            return self.failed and free >= _LEAST_ROOM
        except OSError:
            return False

    def forget(self) -> None:
        """The server is started again: only what it logs from now on counts."""
        self.failed = False
        try:
            self._read_to = self._log_file.stat().st_size
        except OSError:
            self._read_to = 0
