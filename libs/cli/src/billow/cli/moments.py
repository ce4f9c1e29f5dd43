"""Times and rates as people write them, and as they are shown."""

import re
from datetime import UTC, datetime, timedelta

from billow.runtime.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_SPAN = re.compile(_NUMBER + r"(s|m|min|h|d|w)")
_RATE = re.compile(_NUMBER + r"(?:/(s|m|min|h|d))?")


def moment(text: str, option: str, now: datetime) -> datetime:
    """`2d` (ago; s, m, h, d or w), or an ISO 8601 date or time, of UTC where it names no zone.

    Raises:
        UsageError: neither; the message names `option`.
    """
    if match := _SPAN.fullmatch(text.strip()):
        try:
            return now - timedelta(seconds=_seconds(match))
        except OverflowError as e:
            raise UsageError(f"{option} {text}: there are no dates that long ago; leave it out for all.") from e
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as e:
        raise UsageError(
            f"{option} {text}: say how long ago, as 2d or 12h, or when, as 2026-03-14 or 2026-03-14T12:30Z."
        ) from e
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def span(text: str, option: str) -> float:
    """`12h`, `30d` or `8w`, in seconds.

    Raises:
        UsageError: none of them; the message names `option`.
    """
    match = _SPAN.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text}: say how long, as 12h, 30d or 8w.")
    return _seconds(match)


def rate(text: str) -> float:
    """`20`, `20/s`, `600/m`, `5000/h` or `80000/d`, in documents/s.

    Raises:
        UsageError: none of them, or 0.
    """
    match = _RATE.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise UsageError(f"--rate {text}: say how many documents, as 20/s, 600/m or 5000/h.")
    return float(match[1]) / _UNITS[match[2] or "s"]


def span_text(seconds: float) -> str:
    """In the largest unit that leaves no rest."""
    unit = next((unit for unit in ("w", "d", "h", "m") if seconds % _UNITS[unit] == 0), "s")
    return f"{seconds / _UNITS[unit]:g}{unit}"


def rate_text(documents: float) -> str:
    """Documents/s in the unit in which they are at least one."""
    unit = next((unit for unit in ("s", "m", "h") if documents * _UNITS[unit] >= 1), "d")
    return f"{documents * _UNITS[unit]:g}/{unit}"


def _seconds(match: re.Match[str]) -> float:
    return float(match[1]) * _UNITS[match[2]]
