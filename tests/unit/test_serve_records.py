"""Records: google.protobuf reads back the bytes that the server writes by hand."""

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from serve.tasks import records

FIELD = descriptor_pb2.FieldDescriptorProto
TYPES = {"float": FIELD.TYPE_FLOAT, "int32": FIELD.TYPE_INT32, "string": FIELD.TYPE_STRING}


def field(message: Any, name: str, number: int, kind: str, repeated: bool = False, **options: Any) -> None:
    descriptor = message.field.add(
        name=name, number=number, label=FIELD.LABEL_REPEATED if repeated else FIELD.LABEL_OPTIONAL
    )
    if kind in TYPES:
        descriptor.type = TYPES[kind]
    else:
        descriptor.type, descriptor.type_name = FIELD.TYPE_MESSAGE, f".aialgs.data.{kind}"
    descriptor.options.packed = options.get("packed", False)


def schema() -> Any:
    """Return the class Record of the built-in algorithms' published schema (aialgs.data), with the fields used here."""
    file = descriptor_pb2.FileDescriptorProto(name="record.proto", package="aialgs.data", syntax="proto2")
    for name, number in (("Float32Tensor", "float"), ("Int32Tensor", "int32")):
        field(file.message_type.add(name=name), "values", 1, number, repeated=True, packed=True)
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="value")
    for name, number, kind in (("float32_tensor", 2, "Float32Tensor"), ("int32_tensor", 7, "Int32Tensor")):
        field(value, name, number, kind)
        value.field[-1].oneof_index = 0
    record = file.message_type.add(name="Record")
    entry = record.nested_type.add(name="FeaturesEntry")
    entry.options.map_entry = True
    field(entry, "key", 1, "string")
    field(entry, "value", 2, "Value")
    field(record, "features", 1, "Record.FeaturesEntry", repeated=True)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("aialgs.data.Record"))


RECORD = schema()


def read(frame: bytes) -> Any:
    """Return the message of a frame. The bytes must hold nothing else."""
    magic, length = struct.unpack_from("<II", frame)
    assert magic == 0xCED7230A
    assert len(frame) == 8 + (length + 3) // 4 * 4
    assert not any(frame[8 + length :])
    record = RECORD()
    assert record.ParseFromString(frame[8 : 8 + length]) == length
    return record


shapes = arrays.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9)


@given(values=arrays.arrays(np.float32, shapes, elements=st.floats(width=32, allow_nan=False)))
def test_protobuf_reads_back_the_numbers_and_the_shape(values: np.ndarray) -> None:
    record = read(records.of_tensor(values))
    assert sorted(record.features) == ["shape", "target"]
    assert list(record.features["shape"].int32_tensor.values) == list(values.shape)
    target = np.array(record.features["target"].float32_tensor.values, np.float32).reshape(values.shape)
    assert (target == values).all()


@given(side=st.sampled_from([1, 127, 128, 16383, 16384, 2097151, 2097152]))
def test_lengths_and_shapes_encoded_in_any_number_of_bytes_are_read_back(side: int) -> None:
    record = read(records.of_tensor(np.zeros((1, side), np.float32)))
    assert list(record.features["shape"].int32_tensor.values) == [1, side]
    assert len(record.features["target"].float32_tensor.values) == side


def test_the_bytes_of_a_small_record_match_a_calculation_by_hand() -> None:
    """A tag is the field number x 8 + 2: 0x0a is field 1, 0x12 field 2, 0x3a field 7."""
    target = b"\x0a\x06target\x12\x08\x12\x06\x0a\x04" + struct.pack("<f", 0.5)
    shape = b"\x0a\x05shape\x12\x06\x3a\x04\x0a\x02\x01\x01"
    record = b"\x0a" + bytes([len(target)]) + target + b"\x0a" + bytes([len(shape)]) + shape
    frame = struct.pack("<II", 0xCED7230A, len(record)) + record + bytes(-len(record) % 4)
    assert records.of_tensor(np.array([[0.5]], np.float32)) == frame


def test_numbers_in_any_layout_and_type_are_written_in_order() -> None:
    values = np.arange(6, dtype=">f8").reshape(2, 3).T
    record = read(records.of_tensor(values))
    assert list(record.features["shape"].int32_tensor.values) == [3, 2]
    assert list(record.features["target"].float32_tensor.values) == [0, 3, 1, 4, 2, 5]


def test_a_record_too_long_for_a_frame_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((1, 100), np.float32)
    length = struct.unpack_from("<I", records.of_tensor(values), 4)[0]
    monkeypatch.setattr(records, "MAX_BYTES", length)
    assert records.of_tensor(values)
    monkeypatch.setattr(records, "MAX_BYTES", length - 1)
    with pytest.raises(ValueError, match=f"a record of {length} bytes"):
        records.of_tensor(values)
