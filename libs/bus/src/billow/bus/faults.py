"""Errors of the NATS client in our terms: pass, busy, or never."""

import json
from collections.abc import Generator
from contextlib import contextmanager

import nats.errors
import nats.js.errors

from billow.runtime.errors import PermanentError, TransientError

_STORE_FAILED = 10077
"""Full, by its description; or the store has another trouble, as while it closes."""
_FULL_WORDS = ("maximum", "no space left", "insufficient")
_FULL = {
    10002,  # resource limits of the account exceeded
    10023,  # insufficient resources
    10028,  # resource limits of the account exceeded, memory or storage
    10047,  # insufficient storage
}
_PASSING = {
    10158,  # the same message id is in process: an attempt before is about to be stored, or was lost with its leader
    10167,  # too many requests: more than the stream's leader takes in at once
}


class BusyError(TransientError):
    """The queue is full. Nothing was accepted and nothing is lost; come back after `delay` seconds, 1 to 60."""


@contextmanager
def translated(what: str) -> Generator[None]:
    """Turn the client's errors into ours.

    Raises:
        BusyError: the stream is full.
        TransientError: no answer, no responders, the connection is down, or the same message is on its way already.
        PermanentError: the server refuses, code `bus_refused`.
    """
    try:
        yield
    except nats.js.errors.APIError as e:
        if _is_full(e):
            raise BusyError(f"{what}: the queue is full ({e.description}); try again in a moment", delay=2) from e
        if (e.code or 500) >= 500 or e.err_code in _PASSING:
            raise TransientError(f"{what}: {e.description or e}", delay=2) from e
        raise PermanentError(f"{what}: the server refuses: {e.description}", code="bus_refused") from e
    except (TimeoutError, nats.errors.Error, nats.js.errors.Error, json.JSONDecodeError) as e:
        # A stream that is choosing its leader may answer with nothing at all.
        raise TransientError(f"{what}: NATS does not answer ({e or type(e).__name__})", delay=2) from e


def _is_full(error: nats.js.errors.APIError) -> bool:
    if error.err_code == _STORE_FAILED:
        return any(word in (error.description or "").lower() for word in _FULL_WORDS)
    return error.err_code in _FULL
