"""Names of the message headers that we read and write."""

CONTENT_TYPE = "Content-Type"
MSG_ID = "Nats-Msg-Id"
EXPECTED_STREAM = "Nats-Expected-Stream"

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


def one_line(value: str, limit: int = 4000) -> str:
    """A header value: NATS headers end at a line break, so breaks become ` | `."""
    return " | ".join(value.splitlines())[:limit]
