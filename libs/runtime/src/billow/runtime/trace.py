"""W3C trace context (https://www.w3.org/TR/trace-context/), carried along so that one document is one trace."""

import random
import re
from contextvars import ContextVar

HEADER = "traceparent"

_PATTERN = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\Z")
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def adopt(traceparent: str | None) -> None:
    """Go on with the trace of an incoming message; a missing or malformed one starts a new trace."""
    _current.set(traceparent)


def child() -> str:
    """The `traceparent` for an outgoing message: same trace, new span; a new sampled trace where there is none."""
    match = _PATTERN.match(_current.get() or "")
    trace_id, flags = (match[1], match[3]) if match else (f"{random.getrandbits(128):032x}", "01")
    value = f"00-{trace_id}-{random.getrandbits(64):016x}-{flags}"
    if not match:
        _current.set(value)
    return value
