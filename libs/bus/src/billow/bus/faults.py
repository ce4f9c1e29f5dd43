"""Errors of the NATS client in our terms: pass, busy, or never."""

from collections.abc import Generator
from contextlib import contextmanager

import nats.errors
import nats.js.errors

from billow.runtime.errors import PermanentError, TransientError

_FULL = {
    10077,  # maximum messages, bytes or messages per subject exceeded
    10047,  # insufficient storage
    10023,  # insufficient resources
}


class BusyError(TransientError):
    """The queue is full. Nothing was accepted and nothing is lost; come back after `delay` seconds."""


@contextmanager
def translated(what: str) -> Generator[None]:
    """Turn the client's errors into ours.

    Raises:
        BusyError: the stream is full.
        TransientError: no answer, no responders, or the connection is down.
        PermanentError: the server refuses, code `bus_refused`.
    """
    try:
        yield
    except nats.js.errors.APIError as e:
        if e.err_code in _FULL:
            raise BusyError(f"{what}: the queue is full ({e.description}); try again in a moment", delay=2) from e
        if (e.code or 500) >= 500:
            raise TransientError(f"{what}: {e.description or e}", delay=2) from e
        raise PermanentError(f"{what}: the server refuses: {e.description}", code="bus_refused") from e
    except (TimeoutError, nats.errors.Error, nats.js.errors.Error) as e:
        raise TransientError(f"{what}: NATS does not answer ({e or type(e).__name__})", delay=2) from e
