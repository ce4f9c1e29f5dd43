"""Bytes on the wire: JSON where people look, MessagePack where models talk. Both are accepted everywhere."""

from functools import cache
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")

JSON = "application/json"
MSGPACK = "application/msgpack"
ContentType = Literal["application/json", "application/msgpack"]

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that anybody may have written."""

_ALIASES: dict[str, ContentType] = {
    JSON: JSON,
    "text/json": JSON,
    MSGPACK: MSGPACK,
    "application/x-msgpack": MSGPACK,
    "application/vnd.msgpack": MSGPACK,
}

_json_encoder = msgspec.json.Encoder()
_msgpack_encoder = msgspec.msgpack.Encoder()


class CodecError(ValueError):
    """Bytes that are not what they should be. The message says where and why."""


@cache
def _json_decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


@cache
def _msgpack_decoder(type_: Any) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(type_)


def content_type_of(data: bytes, header: str | None) -> ContentType:
    """Which codec to use.

    Without a header the first byte decides: an object opens with `{` (or white space before it) in JSON and never
    in MessagePack.

    Raises:
        CodecError: the header names a type that is neither.
    """
    if header == JSON:
        return JSON
    if header:
        name = header.partition(";")[0].strip().lower()
        if name not in _ALIASES:
            raise CodecError(f"Content-Type {header!r} is neither {JSON} nor {MSGPACK}")
        return _ALIASES[name]
    return MSGPACK if data[:1] >= b"\x80" else JSON


def encode(value: Any, content_type: ContentType = JSON) -> bytes:
    """Encode a Struct; keys keep their order, so a record's fields stay in the order in which people read them."""
    return (_json_encoder if content_type == JSON else _msgpack_encoder).encode(value)


def decode(data: bytes, type_: type[T], content_type: str | None = None) -> T:
    """Decode and validate.

    Raises:
        CodecError: not that format, or not that type; the message carries msgspec's path to the fault.
    """
    kind = content_type_of(data, content_type)
    decoder = _json_decoder(type_) if kind == JSON else _msgpack_decoder(type_)
    try:
        return decoder.decode(data)
    except UNREADABLE as e:
        raise CodecError(f"not a valid {kind} message: {e}") from e
