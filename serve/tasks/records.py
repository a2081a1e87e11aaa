"""Encodes a tensor as SageMaker's built-in algorithms do: a protobuf Record in a RecordIO frame, written by hand.

This uses the following part of the Record schema (package aialgs.data):

    message Record        { map<string, Value> features = 1; }
    message Value         { oneof value { Float32Tensor float32_tensor = 2; Int32Tensor int32_tensor = 7; } }
    message Float32Tensor { repeated float values = 1 [packed = true]; }
    message Int32Tensor   { repeated int32 values = 1 [packed = true]; }

A map is encoded as one message per pair, with key = 1 and value = 2 (protobuf.dev, "Encoding"). The frame is MXNet's
RecordIO: a magic number, the record's length, the record, and zeros up to a multiple of 4 bytes; numbers are
little-endian. MXNet's writer splits records that contain the magic number. This one does not, because SageMaker's SDK
and other readers expect a whole record in each frame.
"""

import struct

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0xCED7230A

_FEATURES, _KEY, _VALUE, _FLOAT32_TENSOR, _INT32_TENSOR, _VALUES = 1, 1, 2, 2, 7, 1  # field numbers
_LENGTH_DELIMITED = 2

MAX_BYTES = (1 << 29) - 1
"""Maximum length of a record: the frame reserves three bits of the length field."""


def of_tensor(values: NDArray[np.float32]) -> bytes:
    """Encode a float32 array as a framed Record with the features `target` (its values) and `shape`.

    Raises ValueError if the record is longer than MAX_BYTES.
    """
    numbers = np.ascontiguousarray(values, "<f4").ravel().view(np.uint8).data
    shape = b"".join(map(_varint, values.shape))
    record = [*_feature(b"target", _FLOAT32_TENSOR, numbers), *_feature(b"shape", _INT32_TENSOR, shape)]
    length = _length(record)
    if length > MAX_BYTES:
        raise ValueError(f"a record of {length} bytes does not fit into a frame of {MAX_BYTES} bytes")
    return b"".join([struct.pack("<II", _MAGIC, length), *record, bytes(-length % 4)])


_Parts = list[bytes | memoryview]
"""Bytes in pieces, to avoid copying millions of numbers at each level of the message."""


def _feature(name: bytes, kind: int, values: bytes | memoryview) -> _Parts:
    value = _field(_VALUE, _field(kind, _field(_VALUES, [values])))
    return _field(_FEATURES, [*_field(_KEY, [name]), *value])


def _field(number: int, content: _Parts) -> _Parts:
    """Encode a field whose value is a string, a message or packed numbers."""
    return [_varint(number << 3 | _LENGTH_DELIMITED) + _varint(_length(content)), *content]


def _length(parts: _Parts) -> int:
    return sum(map(len, parts))


def _varint(number: int) -> bytes:
    """Encode a non-negative number: seven bits per byte, lowest first, the eighth bit set in all but the last byte."""
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(digits) + bytes([number])
