"""RecordIO framing and image records: what was written is read back, and other files are recognised."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.data import recordio, samples
from train.data.recordio import MAGIC_BYTES, RecordIOError, Writer, pack_image, read, scan, unpack_image
from train.errors import UserError

# Payloads that often hold the magic number, aligned or not, because the format splits a record there.
payloads = st.lists(st.one_of(st.binary(max_size=9), st.just(MAGIC_BYTES)), max_size=8).map(b"".join)


def write_records(path: Path, records: list[bytes]) -> Path:
    with Writer(path) as writer:
        for record in records:
            writer.write(record)
    return path


@given(records=st.lists(payloads, max_size=6))
@settings(max_examples=200)
def test_every_list_of_payloads_is_read_back_from_a_file(
    records: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_records(tmp_path_factory.mktemp("rec") / "a.rec", records)
    assert [read(path, *place) for place in scan(path)] == records


def test_the_bytes_of_a_whole_record_match_the_format(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [b"abcde"])
    assert path.read_bytes() == bytes.fromhex("0a23d7ce") + struct.pack("<I", 5) + b"abcde\0\0\0"


def test_a_payload_is_split_at_aligned_magic_numbers_into_first_middle_and_last_parts(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [b"abcd" + MAGIC_BYTES + b"efgh" + MAGIC_BYTES + b"i"])
    flags = [struct.unpack_from("<II", path.read_bytes(), offset) for offset in (0, 12, 24)]
    assert [(word >> 29, word & 0x1FFFFFFF) for _, word in flags] == [(1, 4), (2, 4), (3, 1)]


@given(
    labels=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5),
    index=st.integers(0, 2**64 - 1),
    image=st.binary(max_size=40),
)
def test_the_labels_the_index_and_the_image_are_read_back_from_a_record(
    labels: list[float], index: int, image: bytes
) -> None:
    record = unpack_image(pack_image(labels, index, image))
    assert (record.labels.tolist(), record.index, record.image) == (labels, index, image)


def test_a_single_label_is_written_into_the_header_itself() -> None:
    packed = pack_image(3, 7, b"image")
    assert packed == struct.pack("<IfQQ", 0, 3.0, 7, 0) + b"image"
    assert unpack_image(packed).labels.tolist() == [3.0]
    assert unpack_image(packed).labels.dtype == np.float32


@pytest.mark.parametrize(
    ("content", "found_bytes"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(8), "a JPEG image"),
        (b'{"a": 1}', "JSON text"),
        (b"\x1f\x8b" + bytes(8), "a gzip archive"),
        (b"abcdefgh", "bytes 61626364"),
    ],
)
def test_a_file_that_is_not_recordio_is_reported_with_what_it_looks_like(
    content: bytes, found_bytes: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.rec"
    path.write_bytes(content)
    with pytest.raises(
        RecordIOError, match=re.escape(f"{path} is not a RecordIO file: it has {found_bytes} at byte 0")
    ):
        list(scan(path))


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_truncated_file_is_reported_after_its_whole_records(cut: int, tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [b"first", b"second"])
    path.write_bytes(path.read_bytes()[:-cut])
    places = scan(path)
    assert read(path, *next(places)) == b"first"
    with pytest.raises(RecordIOError, match="is truncated"):
        next(places)


def test_a_record_without_its_last_part_is_reported(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [b"abcd" + MAGIC_BYTES + b"efgh"])
    path.write_bytes(path.read_bytes()[:12])
    with pytest.raises(RecordIOError, match="has no end"):
        list(scan(path))


def test_a_middle_part_without_a_first_is_reported_as_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.rec"
    path.write_bytes(MAGIC_BYTES + struct.pack("<I", 2 << 29))
    with pytest.raises(RecordIOError, match="is damaged: "):
        list(scan(path))


@pytest.mark.parametrize("record", [b"", b"short", struct.pack("<IfQQ", 4, 0.0, 0, 0) + bytes(15)])
def test_a_payload_shorter_than_its_header_requires_is_rejected(record: bytes) -> None:
    with pytest.raises(RecordIOError, match="too short"):
        unpack_image(record)


def test_a_damaged_record_is_reported_with_its_file_number_and_offset(tmp_path: Path) -> None:
    path = write_records(tmp_path / "a.rec", [pack_image(1.0, 0, b"image"), b"short"])
    listed = samples.records(path)
    assert next(listed).name == "a.rec, record 0"
    with pytest.raises(UserError, match=re.escape(f"{path}, record 1 at byte 40: a record of 5 bytes is too short")):
        next(listed)


def test_a_part_longer_than_the_format_allows_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordio, "_MAX_PART", 3)
    with pytest.raises(RecordIOError, match="longer than RecordIO's 3"), Writer(tmp_path / "a.rec") as writer:
        writer.write(b"abcd")
