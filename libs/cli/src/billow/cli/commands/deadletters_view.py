"""Dead letters on a terminal, and as JSON for programs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, JustifyMethod
from rich.table import Table
from rich.text import Text

from billow.bus.deadletter_shelf import Letter, WholeLetter
from billow.bus.headers import CONTENT_TYPE, OF_DEATH
from billow.cli.columns import fitting
from billow.cli.counts import counted
from billow.schemas import codec

_AGES = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
_LONG_BYTES = 64
_NUMBERS = ("seq", "age", "tries")
_OUTCOMES = {
    "sent": "sent again",
    "sent_before": "had been sent by a redrive that was broken off",
    "not_needed": "removed, as nothing was left to do",
    "gone": "gone already",
    "refused": "refused; they stay",
}


def age(since: timedelta) -> str:
    """`3d`, `17m`: the largest unit alone."""
    seconds = max(0, int(since.total_seconds()))
    for unit, length in _AGES:
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return "now"


def table(letters: Sequence[Letter], *, width: int) -> Table:
    """A line for each: the message is cut to what is left of `width` characters, and what is least needed left out."""
    now = datetime.now(UTC)
    columns = {
        "seq": [str(letter.sequence) for letter in letters],
        "age": [age(now - letter.buried_at) for letter in letters],
        "reason": [_plain(letter.code) for letter in letters],
        "service": [_plain(letter.service) for letter in letters],
        "event": [_plain(letter.event) for letter in letters],
        "tenant": [_plain(letter.tenant) for letter in letters],
        "document": [_plain(letter.document_id) for letter in letters],
        "run": [_plain(letter.run_id or "") for letter in letters],
        "tries": [str(letter.deliveries or "?") for letter in letters],
        "message": [_plain(letter.message) for letter in letters],
    }
    if not any(columns["run"]):
        del columns["run"]
    unneeded = ["event", "service", "tries", "age", "reason"]
    if len(set(columns["tenant"])) <= 1:
        unneeded.insert(0, "tenant")
    shown = fitting(columns, width=width, elastic="message", least=12, droppable=unneeded)
    grid = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, room in shown.items():
        side: JustifyMethod = "right" if name in _NUMBERS else "left"
        style = "dim" if name == "message" else ""
        grid.add_column(name, justify=side, style=style, no_wrap=True, overflow="ellipsis", width=room)
    for row in zip(*(columns[name] for name in shown), strict=True):
        grid.add_row(*(Text(cell) for cell in row))
    return grid


def line(letter: Letter) -> str:
    """One line of JSON."""
    return msgspec.json.encode(letter).decode() + "\n"


def whole_line(letter: WholeLetter) -> str:
    """One line of JSON, with the payload decoded where it can be."""
    fields = {
        **cast("dict[str, Any]", msgspec.to_builtins(letter.letter)),
        "headers": letter.headers,
        "traceback": letter.traceback,
        "payload": payload(letter),
    }
    return msgspec.json.encode(fields).decode() + "\n"


def whole(letter: WholeLetter) -> Group:
    """All of one letter for a person."""
    about = letter.letter
    grid = Table.grid(padding=(0, 2))
    cut = "" if about.cut_from is None else f", cut from {about.cut_from:,}"
    ours = {
        "reason": about.code,
        "message": about.message,
        "gave up": f"{about.service}, after {_deliveries(about)}, {about.buried_at:%Y-%m-%d %H:%M:%SZ}",
        "subject": about.subject,
        "stored as": f"{about.stream} {about.stream_sequence}",
        "document": about.document_id,
        "run": about.run_id or "",
        "payload": f"{about.size:,} bytes{cut}",
    }
    theirs = {name: value for name, value in letter.headers.items() if not name.lower().startswith(OF_DEATH)}
    for name, value in {**ours, **theirs}.items():
        if value:
            grid.add_row(Text(name, style="cyan" if name in ours else "dim"), Text(_plain(value)))
    decoded = payload(letter)
    body = decoded if isinstance(decoded, str) else msgspec.json.format(msgspec.json.encode(decoded)).decode()
    parts: list[Table | Text] = [Text(f"dead letter {about.sequence}", style="bold"), grid]
    if letter.traceback:
        parts += [Text(), Text(letter.traceback, style="red")]
    return Group(*parts, Text(), Text(_plain(body, lines=True)))


def _deliveries(letter: Letter) -> str:
    return counted(letter.deliveries, "delivery", "deliveries") if letter.deliveries else "? deliveries"


def payload(letter: WholeLetter) -> Any:
    """Objects as JSON has them, long bytes only counted; text, or the beginning in hex, where it is no such thing."""
    header = next((value for name, value in letter.headers.items() if name.lower() == CONTENT_TYPE.lower()), None)
    for content_type in (header, None):
        try:
            kind = codec.content_type_of(letter.payload, content_type)
            return _brief(msgspec.json.decode(letter.payload) if kind == codec.JSON else _unpacked(letter.payload))
        except (codec.CodecError, msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            continue
    try:
        return letter.payload.decode()
    except UnicodeDecodeError:
        more = " ..." if len(letter.payload) > _LONG_BYTES else ""
        return f"{letter.payload[:_LONG_BYTES].hex(' ')}{more}"


def _unpacked(data: bytes) -> Any:
    return msgspec.msgpack.decode(data)


def _brief(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if isinstance(value, dict):
        return {str(key): _brief(each) for key, each in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list):
        return [_brief(each) for each in cast("list[Any]", value)]
    return value


def show_outcomes(outcomes: Mapping[str, int], refused: Sequence[tuple[int, str]], out: Console) -> None:
    """How many letters ended how, and why some did not."""
    for sequence, reason in refused:
        out.print(Text(f"{sequence}: {_plain(reason)}", style="yellow"))
    for outcome, words in _OUTCOMES.items():
        if outcomes.get(outcome):
            out.print(f"{outcomes[outcome]:,} {words}")
    if not outcomes:
        out.print("No dead letters.")


def _plain(text: str, *, lines: bool = False) -> str:
    """Without what would make a terminal do something: anybody may have written it."""
    return "".join(c if c.isprintable() or (lines and c == "\n") else "�" for c in text)
