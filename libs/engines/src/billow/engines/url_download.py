"""One file from a server, by HTTP or from a shared folder."""

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from billow.engines.arrival import keep
from billow.engines.errors import WeightsError
from billow.engines.manifest_weights import UrlWeights
from billow.engines.package_index import Progress

_SILENCE = 60.0
"""seconds without a byte until a server counts as gone"""


def download(weights: UrlWeights, partial: Path, target: Path, progress: Progress | None = None) -> None:
    """Fetch to `target`, which appears only if size and sha256 are right. Blocks; an interrupted one starts anew.

    Raises:
        WeightsError: `weights_unavailable`, with what the server said, or `weights_mismatch`.
    """
    try:
        # The scheme was checked with the manifest.
        with urllib.request.urlopen(weights.url, timeout=_SILENCE) as answer:  # noqa: S310
            promised = int(answer.headers.get("Content-Length") or 0)
            keep(_Counted(answer, promised, weights.size, progress), weights, partial, target, origin=weights.url)
    except (OSError, http.client.HTTPException) as e:
        if not isinstance(e, (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)):
            raise  # of the disk
        raise WeightsError(
            f"{weights.url} cannot be fetched: {_reason(e)}. Check the address in the manifest, and that this machine "
            "reaches it (proxy: HTTPS_PROXY, certificates: SSL_CERT_FILE), then pull again.",
            code="weights_unavailable",
            retryable=True,
        ) from e


class _Counted:
    """Tells of each piece that is read, and whether the end came too early."""

    def __init__(self, source: Any, promised: int, size: int, progress: Progress | None) -> None:
        self._source = source
        self._promised = promised
        self._size = size
        self._progress = progress
        self._done = 0

    def read(self, size: int, /) -> bytes:
        data: bytes = self._source.read(size)
        self._done += len(data)
        if size and not data and self._done < self._promised:
            raise ConnectionError(f"the connection ended after {self._done} of {self._promised} bytes")
        if self._progress and data:
            self._progress(min(self._done, self._size), self._size)
        return data


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it is the open answer as well
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
