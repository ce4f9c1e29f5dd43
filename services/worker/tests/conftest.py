"""A detector small enough to be written here, byte by byte, so that no package for making ONNX files is needed."""

import pytest


@pytest.fixture
def ink_weights() -> bytes:
    """An ONNX file that answers with how dark each pixel is: relu(-mean of the channels). Fields as in onnx.proto3."""
    axes = _field(1, "axes") + _field(8, 1) + _field(20, 7)
    nodes = [
        _field(1, "image") + _field(2, "mean") + _field(4, "ReduceMean") + _field(5, axes),
        _field(1, "mean") + _field(2, "dark") + _field(4, "Neg"),
        _field(1, "dark") + _field(2, "map") + _field(4, "Relu"),
    ]
    ends = _field(11, _tensor("image", 3)) + _field(12, _tensor("map", 1))
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "ink") + ends
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))


def _tensor(name: str, channels: int) -> bytes:
    """ValueInfoProto of floats (1, channels, any, any)."""
    sizes = [_field(1, 1), _field(1, channels), _field(2, "height"), _field(2, "width")]
    shape = b"".join(_field(1, size) for size in sizes)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def _field(number: int, value: int | str | bytes) -> bytes:
    """One protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + _varint(value >> 7) if value > 127 else bytes([value])
