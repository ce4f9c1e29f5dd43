"""Malformed messages of every kind, drawn by hypothesis, and the bytes that put them on the wire."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from billow.schemas import codec

_LIST = 100
"""Messages that are drawn together; hypothesis limits how much."""
_NAMES = (b"Content-Type", b"content-type", b"X", b"traceparent", b"Bad(Name)", b"A B", b"\xc3\xa9", b"", b"Status")
_VALUES = (
    b"application/json",
    b"application/msgpack",
    b"application/json; charset=utf-16",
    b"text/json",
    b"image/png",
    b"",
    b"\xff\xfe",
    b"application/msgpack\x00",
    b"\x01\x7f",
    b"\xe2\x80\xa8",
    b"a" * 5_000,
    b"404",
    b"100",
)
_BLOCKS = (
    b"",
    b"ab",
    b"\r\n",
    b"NATS/1.0",
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 503 No Responders\r\n\r\n",
    b"NATS/1.0 \xff\xfe\xfd\r\n\r\n",
    b"NATS/1.0 100 Idle \xff\r\n\r\n",
    b"HTTP/1.1\r\nContent-Type: application/json\r\n\r\n",
    b"NATS/1.0\r\n:\r\n: x\r\nno colon\r\n\r\n",
    b"NATS/1.0\r\nX: " + b"y" * 63_000 + b"\r\n\r\n",
)
_TOKENS = (
    b"NoToken!",
    b"UPPER",
    b"*",
    b"\xc3\xa9",
    b"\xff\xfe",
    b"\x00",
    b"\x0b\x0c",
    b"\x1c",
    b"\xc2\xa0",
    b"\xe2\x80\xa8",
    b"$JS",
    b"'--",
    b"x" * 65,
    b"y" * 2_000,
    b"other",
)
_STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    -(10**400),
    1e308,
    "",
    "\x00",
    "\U0010ffff",
    "x" * 3_000,
    "2026-13-45T99:99:99Z",
    "0001-01-01T00:00:00+23:59",
    [],
    {},
    [[]],
    {"": None},
    ["a", 1],
    "NaN",
)
_LITERALS = (b"NaN", b"1e999", b"-0", b'"\\ud800"', b'"\\u0000"', b"[" * 3_000, b'{"a":' * 3_000, b"9" * 5_000, b"//")


class Message(NamedTuple):
    """What is put on the wire."""

    subject: bytes
    head: bytes | None
    """The header block as it is; None for none."""
    data: bytes


class Pattern(NamedTuple):
    """What good messages of one kind look like."""

    subjects: tuple[bytes, ...]
    goods: tuple[bytes, ...]
    """Payloads, JSON and MessagePack, all about the document of the first subject."""
    headers: tuple[bytes, ...] = ()
    """Names of headers that this kind reads."""
    values: tuple[bytes, ...] = ()
    """What they may hold, beside nonsense."""
    tokens: tuple[int, ...] = (1, -1)
    """Of the subject, those that do not say which consumer it is for."""


def draw(pattern: Pattern, count: int, number: int) -> list[Message]:
    """`count` malformed messages, about one in twenty well-formed by chance; the same `number` draws the same ones.

    Hypothesis draws one number for each, which stands for all that is chosen: to have it draw each choice costs 2 ms.
    """
    found: list[Message] = []

    @seed(number)
    @settings(
        max_examples=-(-count // _LIST),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(st.lists(st.integers(0, 2**64 - 1), min_size=_LIST, max_size=_LIST))
    def collect(some: list[int]) -> None:
        for each in some:
            # It likes to draw the same number again.
            found.append(_message(pattern, random.Random(f"{each} {len(found)}")))  # noqa: S311

    collect()
    assert len(found) >= count, "hypothesis gave up early"
    return found[:count]


def _message(pattern: Pattern, dice: random.Random) -> Message:
    good, subject = dice.choice(pattern.goods), dice.choice(pattern.subjects)
    return Message(_subject(pattern, subject, dice), _head(pattern, dice), _payload(good, dice))


def _subject(pattern: Pattern, good: bytes, dice: random.Random) -> bytes:
    if dice.randrange(4):
        return good
    tokens = good.split(b".")
    tokens[dice.choice(pattern.tokens)] = dice.choice(_TOKENS)
    return b".".join(tokens)


def _head(pattern: Pattern, dice: random.Random) -> bytes | None:
    match dice.randrange(6):
        case 0:
            return dice.choice(_BLOCKS)
        case 1:
            names, values = (*_NAMES, *pattern.headers), (*_VALUES, *pattern.values)
            pairs = [(dice.choice(names), dice.choice(values)) for _ in range(dice.randrange(5))]
            return b"".join((b"NATS/1.0\r\n", *(b"%b: %b\r\n" % pair for pair in pairs), b"\r\n"))
        case 2:
            return b"NATS/1.0" + dice.randbytes(dice.randrange(30)) + b"\r\n\r\n"
        case _:
            return None


def _payload(good: bytes, dice: random.Random) -> bytes:  # noqa: PLR0911  (one for each kind)
    at = dice.randrange(len(good))
    match dice.randrange(9):
        case 0:
            return good[:at]
        case 1:
            return good[:at] + bytes([good[at] ^ (1 << dice.randrange(8))]) + good[at + 1 :]
        case 2:
            return good[:at] + dice.randbytes(dice.randrange(12)) + good[at + dice.randrange(12) :]
        case 3:
            return good[:at] + dice.choice(_LITERALS) + good[at:]
        case 4:
            return dice.randbytes(dice.randrange(60))
        case 5:
            return dice.choice((b"", b"{}", b"[]", b"null", b"\xef\xbb\xbf" + good, b" " + good, good + good))
        case 6:
            return good.replace(b"{", b'{"tenant":"other","tenant":7,', 1)
        case _:
            return _with(good, dice.randrange(1_000), dice.choice(_STRANGE))


def _with(good: bytes, number: int, value: Any) -> bytes:
    """One value of the payload replaced by another."""
    packed = codec.content_type_of(good, None) == codec.MSGPACK
    whole: Any = msgspec.msgpack.decode(good) if packed else msgspec.json.decode(good)
    places = list(_places(whole))
    holder, key = places[number % len(places)]
    holder[key] = value
    try:
        return msgspec.msgpack.encode(whole) if packed else msgspec.json.encode(whole)
    except (OverflowError, UnicodeEncodeError):
        holder[key] = None
        return msgspec.json.encode(whole)


def _places(value: Any) -> "list[tuple[Any, Any]]":
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
    elif isinstance(value, list):
        items = enumerate(cast("list[Any]", value))
    else:
        return []
    found: list[tuple[Any, Any]] = []
    for key, each in list(items):
        found += [(cast("Any", value), key), *_places(each)]
    return found


async def send(port: int, messages: Sequence[Message]) -> None:
    """Publish them in this order, as a client would that checks nothing; returns when the server has all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n')
    for subject, head, data in messages:
        if head:
            writer.write(b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, len(head), len(head) + len(data), head, data))
        else:
            writer.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(data), data))
        await writer.drain()
    writer.write(b"PING\r\n")
    while b"PONG" not in (line := await asyncio.wait_for(reader.readline(), 60)):
        assert b"INFO" in line or b"PING" in line, line
    writer.close()
    await writer.wait_closed()
