"""What is declared against what is there, field by field, and which changes cost something that is held."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from billow.bus.planning.configs import Config

_FIXED = {
    "stream": {"storage", "retention", "deny_delete"},
    "consumer": {"ack_policy", "replay_policy", "max_waiting"},
}
"""Fields that the server never changes: the thing has to be made anew."""
_POSITION = {"deliver_policy"}
"""Where a consumer began; nothing to compare, and it says nothing about where it is now."""
_UNSET: tuple[object, ...] = (None, 0, False, "", [], {})


class FieldChange(msgspec.Struct, frozen=True):
    """One field that is not as declared. Times are ns, as the server has them; None is unset."""

    field: str
    old: Any
    new: Any


def differences(wanted: Config, found: Config) -> tuple[FieldChange, ...]:
    """The declared fields that differ. What is not declared is the server's own and never differs."""
    return tuple(
        FieldChange(field, found.get(field), value)
        for field, value in wanted.items()
        if field not in _POSITION and not _is_same(field, value, found.get(field))
    )


def merged(wanted: Config, found: Config) -> Config:
    """What to tell the server: as found, with the declared fields as declared."""
    config = {**found, **{key: value for key, value in wanted.items() if key not in _POSITION}}
    config["metadata"] = {**(found.get("metadata") or {}), **(wanted.get("metadata") or {})}
    return {key: value for key, value in config.items() if value is not None}


def needs_recreation(kind: str, changes: tuple[FieldChange, ...]) -> str:
    """The fields that cannot be changed, for a person; empty if all can."""
    return ", ".join(change.field for change in changes if change.field in _FIXED[kind])


def losses(changes: tuple[FieldChange, ...], state: Config, discard: str) -> str:
    """What messages a change of a stream's limits would remove or lock out, for a person; empty if none."""
    found: list[str] = []
    messages, size = state.get("messages", 0), state.get("bytes", 0)
    then = "nothing more is accepted until there is room" if discard == "new" else "the oldest are deleted"
    for change in changes:
        new = change.new or 0
        if change.field == "max_bytes" and 0 <= new < size:
            found.append(f"it holds {size:,} bytes, more than {new:,}: {then}")
        elif change.field == "max_msgs" and 0 <= new < messages:
            found.append(f"it holds {messages:,} messages, more than {new:,}: {then}")
        elif change.field == "max_msgs_per_subject" and messages and _shrinks(change):
            found.append(f"of a subject at most {new:,} messages may stay, and it holds {messages:,} in all")
        elif change.field == "max_age" and new and messages:
            age = (datetime.now(UTC) - datetime.fromisoformat(state["first_ts"])).total_seconds()
            if age * 1e9 > new:
                found.append(f"its oldest message is {_days(age)} old, older than {_days(new / 1e9)}: such are deleted")
    return "; ".join(found)


def _days(seconds: float) -> str:
    return f"{seconds / 86400:.3g} days"


def _shrinks(change: FieldChange) -> bool:
    old, new = change.old or -1, change.new or -1
    return new > 0 and (old < 0 or new < old)


def _is_same(field: str, wanted: Any, found: Any) -> bool:
    if field == "metadata":
        return _has(found, wanted)
    if field in {"subjects", "filter_subjects"}:
        return sorted(wanted or []) == sorted(found or [])
    if field == "republish" and wanted and found:
        return _has(found, wanted)
    return wanted == found or (wanted in _UNSET and found in _UNSET)


def _has(found: Config | None, wanted: Config) -> bool:
    """Whether all that is wanted is there; the server may have added something."""
    return found is not None and all(found.get(key) == value for key, value in wanted.items())
