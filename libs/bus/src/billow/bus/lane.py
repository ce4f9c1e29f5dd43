"""The lane of an event, without reading the rest of it."""

from collections.abc import Callable, Mapping

import msgspec

from billow.bus import headers
from billow.schemas import codec
from billow.schemas.labels import Lane

LaneOf = Callable[[bytes, Mapping[str, str]], Lane]
"""Tells the lane by the payload and the headers of a message."""


class _Submission(msgspec.Struct, frozen=True):
    lane: Lane = "interactive"


class _Stage(msgspec.Struct, frozen=True):
    origin: _Submission = _Submission()


def submitted_lane(data: bytes, fields: Mapping[str, str]) -> Lane:
    """Lane of a `submitted` event; `interactive` if it cannot be read, as its handler will say."""
    try:
        return codec.decode(data, _Submission, fields.get(headers.CONTENT_TYPE)).lane
    except codec.CodecError:
        return "interactive"


def origin_lane(data: bytes, fields: Mapping[str, str]) -> Lane:
    """Lane of the submission that a `recognized` or `analyzed` event goes back to, else as `submitted_lane`."""
    try:
        return codec.decode(data, _Stage, fields.get(headers.CONTENT_TYPE)).origin.lane
    except codec.CodecError:
        return "interactive"
