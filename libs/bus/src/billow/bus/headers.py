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
"""Its end, as `escaped` makes it."""
DEAD_DOCUMENT = "Billow-Dead-Document"
"""Document id of inference work, whose subject does not say it."""
DEAD_SIZE = "Billow-Dead-Size"
"""bytes of a payload that had to be cut, as it left no room for the reason."""
OF_DEATH = "billow-dead-"
"""How the headers begin that a dead letter adds, in lower case."""
REDRIVE_OF = "Billow-Redrive-Of"
"""Sequence of the dead letter that a message was made from."""


_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ESCAPE = re.compile(r"\\(.)")


def is_name(key: str) -> bool:
    """Whether we may write this header name (a token of RFC 9110); what comes in may have any."""
    return _NAME.fullmatch(key) is not None


def size_of(fields: Mapping[str, str]) -> int:
    """bytes that these headers take in a message."""
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{key}: {value}\r\n".encode()) for key, value in fields.items())


def at_most(fields: Mapping[str, str]) -> int:
    """bytes that these headers take, or more; much quicker than `size_of`."""
    # No character takes more than four.
    return 64 + 8 * len(fields) + 4 * len("".join((*fields, *fields.values())))


def one_line(value: str, limit: int = 4000) -> str:
    """A header value: NATS headers end at a line break, so breaks become ` | `."""
    return " | ".join(value.splitlines())[:limit]


def escaped(value: str, limit: int = 4000) -> str:
    """The end of a text of several lines as a header value; `unescaped` gives the lines back."""
    if len(value) > limit:
        value = f"...\n{value[-limit:]}"
    value = value.replace("\\", "\\\\")
    return "\\n".join(value.splitlines())


def unescaped(value: str) -> str:
    """Undo `escaped`."""
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], value)
