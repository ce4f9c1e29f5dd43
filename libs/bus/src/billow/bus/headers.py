"""Names of the message headers that we read and write."""

import re
from collections.abc import Mapping

CONTENT_TYPE = "Content-Type"
MSG_ID = "Nats-Msg-Id"
EXPECTED_STREAM = "Nats-Expected-Stream"
OF_NATS = "nats-"
"""How headers begin that tell the server what to do, in lower case."""

DEAD_SUBJECT = "Billow-Dead-Subject"
"""Subject of the message that died."""
DEAD_CODE = "Billow-Dead-Code"
DEAD_MESSAGE = "Billow-Dead-Message"
DEAD_RETRYABLE = "Billow-Dead-Retryable"
DEAD_STAGE = "Billow-Dead-Stage"
"""The service that gave up."""
DEAD_DELIVERIES = "Billow-Dead-Deliveries"
DEAD_SEQUENCE = "Billow-Dead-Sequence"
"""`<stream>:<sequence>` of the message that died."""
DEAD_TRACEBACK = "Billow-Dead-Traceback"
DEAD_SIZE = "Billow-Dead-Size"
"""bytes of a payload that had to be cut, as it left no room for the reason."""


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_name(key: str) -> bool:
    """Whether we may write this header name (a token of RFC 9110); what comes in may have any."""
    return _NAME.fullmatch(key) is not None


def size_of(fields: Mapping[str, str]) -> int:
    """bytes that these headers take in a message."""
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{key}: {value}\r\n".encode()) for key, value in fields.items())


def one_line(value: str, limit: int = 4000) -> str:
    """A header value: NATS headers end at a line break, so breaks become ` | `."""
    return " | ".join(value.splitlines())[:limit]
