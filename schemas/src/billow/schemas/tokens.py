"""The one rule that every subject token follows."""

import re
from typing import Annotated

from msgspec import Meta

# `$` alone would also match before a trailing newline, hence the look-ahead; ECMA regexes read it the same.
TOKEN_PATTERN = r"^[a-z0-9_-]{1,64}(?!\n)$"  # noqa: S105
_TOKEN = re.compile(TOKEN_PATTERN)

Token = Annotated[str, Meta(pattern=TOKEN_PATTERN, description="1 to 64 of a-z, 0-9, _ and -")]
"""Tenant, document id, run id, request id, task or model: safe as one token of a NATS subject."""


def is_token(value: str) -> bool:
    """Whether `value` may stand in a subject as it is."""
    return _TOKEN.match(value) is not None


def check_token(value: str, what: str = "token") -> str:
    """Return `value` if it is a valid token.

    Raises:
        ValueError: it is not; the message names `what` and the rule.
    """
    if not is_token(value):
        raise ValueError(f"{what} {value!r} is not 1 to 64 characters of a-z, 0-9, '_' and '-'")
    return value


def model_token(name: str, version: str) -> str:
    """The token of a model: `ppocr-v6-det-small` at `1.0.0` is `ppocr-v6-det-small_1-0-0`.

    Raises:
        ValueError: the result is not a token.
    """
    return check_token(f"{name}_{version.replace('.', '-')}", "model")
