"""Times and rates as people write them."""

import re
from datetime import UTC, datetime, timedelta

from billow.runtime.errors import UsageError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_RATE = re.compile(r"(\d+(?:\.\d+)?)(?:/([smh]))?")


def moment(text: str, option: str, now: datetime) -> datetime:
    """`2d` (ago; s, m, h, d or w), or an ISO 8601 date or time, of UTC where it names no zone.

    Raises:
        UsageError: neither; the message names `option`.
    """
    if match := _AGO.fullmatch(text.strip()):
        return now - timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as e:
        raise UsageError(
            f"{option} {text}: say how long ago, as 2d or 12h, or when, as 2026-03-14 or 2026-03-14T12:30Z."
        ) from e
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def rate(text: str) -> float:
    """`20`, `20/s`, `600/m` or `5000/h`, in documents/s.

    Raises:
        UsageError: none of them.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise UsageError(f"--rate {text}: say how many documents, as 20/s, 600/m or 5000/h.")
    return float(match[1]) / _UNITS[match[2] or "s"]
