"""Read and write MXNet's RecordIO files and their image records.

Framing (dmlc-core's recordio.h): little-endian uint32 magic 0xCED7230A, uint32 `cflag << 29 | length`, the payload,
then zero bytes up to a multiple of 4. A payload that contains the magic at a 4-byte boundary is split there: `cflag` is
0 for a whole record, and 1, 2 and 3 for its first, middle and last part. The magic between two parts is not stored.

Image records (MXNet's `image_recordio.h`) begin with `struct '<IfQQ'`: flag, label, id, id2. If flag > 0, that many
float32 values follow the header and replace the label.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from serve.words import plural

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_MAX_PART = (1 << 29) - 1

# The first bytes of files that people put into a RecordIO channel by mistake.
_LOOKS_LIKE = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"{", "JSON text"),
    (b"[", "JSON text"),
)


class RecordIOError(ValueError):
    """A RecordIO file or record is malformed. The message names the file, the offset and the cause."""


@dataclass(frozen=True)
class ImageRecord:
    """One image record: `labels` float32 of shape (n,), its `index`, and the encoded `image` bytes."""

    labels: NDArray[np.float32]
    index: int
    image: bytes


def pack_image(label: float | Sequence[float], index: int, image: bytes) -> bytes:
    """Return an image record's payload for one label, or for a vector of labels."""
    if isinstance(label, (int, float)):
        return _HEADER.pack(0, float(label), index, 0) + image
    values = np.asarray(label, dtype="<f4").reshape(-1)
    return _HEADER.pack(values.size, 0.0, index, 0) + values.tobytes() + image


def unpack_image(record: bytes) -> ImageRecord:
    """Split an image record's payload into labels, index and image bytes.

    Raises RecordIOError if the payload is shorter than its header says.
    """
    if len(record) < _HEADER.size:
        raise RecordIOError(
            f"a record of {plural(len(record), 'byte')} is too short for an image record's {_HEADER.size}-byte header"
        )
    flag, label, index, _ = _HEADER.unpack_from(record)
    if flag == 0:
        return ImageRecord(np.array([label], np.float32), index, record[_HEADER.size :])
    end = _HEADER.size + 4 * flag
    if len(record) < end:
        raise RecordIOError(
            f"a record of {plural(len(record), 'byte')} is too short for the {plural(flag, 'label')} in its header"
        )
    return ImageRecord(np.frombuffer(record, "<f4", flag, _HEADER.size).copy(), index, record[end:])


class Writer:
    """Writes RecordIO records to `path`; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, record: bytes) -> None:
        """Append one record. Raises RecordIOError if a part exceeds the format's limit of 2**29 - 1 bytes."""
        parts = _split(record)
        for number, part in enumerate(parts):
            if len(part) > _MAX_PART:
                raise RecordIOError(f"a record part of {len(part)} bytes is longer than RecordIO's {_MAX_PART}")
            flag = (
                _WHOLE if len(parts) == 1 else _FIRST if number == 0 else _LAST if number == len(parts) - 1 else _MIDDLE
            )
            self._file.write(_FRAME.pack(MAGIC, flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4))


def _split(record: bytes) -> list[bytes]:
    """Split a payload at each magic number whose offset is a multiple of 4 bytes, and remove it."""
    parts, begin, at = [], 0, record.find(MAGIC_BYTES)
    while at >= 0:
        if at % 4 == 0:
            parts.append(record[begin:at])
            begin = at + 4
            at = record.find(MAGIC_BYTES, begin)
        else:
            at = record.find(MAGIC_BYTES, at + 1)
    return [*parts, record[begin:]]


def scan(path: Path) -> Iterator[tuple[int, int]]:
    """Yield the (offset, length), in bytes, of each record's frames in the file, without reading the payloads.

    `read(path, offset, length)` returns the payload. Raises RecordIOError with the file and the offset where it is
    malformed.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        offset, start = 0, None
        while offset < size:
            flag, length = _frame(path, offset, file.read(_FRAME.size))
            if (start is None) != (flag in (_WHOLE, _FIRST)):
                raise RecordIOError(
                    f"{path} is damaged: a record has an unexpected part {flag} at byte {offset}; create the file again"
                )
            start = offset if start is None else start
            offset += _FRAME.size + length + (-length % 4)
            if offset > size:
                raise RecordIOError(
                    f"{path} is truncated: its last record ends at byte {offset} and the file at byte "
                    f"{size}; copy or create it again"
                )
            file.seek(offset)
            if flag in (_WHOLE, _LAST):
                yield start, offset - start
                start = None
        if start is not None:
            raise RecordIOError(
                f"{path} is truncated: its last record, at byte {start}, has no end; copy or create it again"
            )


def _frame(path: Path, offset: int, head: bytes) -> tuple[int, int]:
    """Return (cflag, length) of the frame whose first 8 bytes are `head`."""
    if len(head) < _FRAME.size:
        raise RecordIOError(
            f"{path} is truncated: it has {plural(len(head), 'byte')} of a record's 8-byte frame at byte {offset}; "
            "copy or create it again"
        )
    magic, word = _FRAME.unpack(head)
    if magic != MAGIC:
        looks = next((name for start, name in _LOOKS_LIKE if head.startswith(start)), f"bytes {head[:4].hex()}")
        raise RecordIOError(
            f"{path} is not a RecordIO file: it has {looks} at byte {offset}, not RecordIO's magic number "
            f"{MAGIC_BYTES.hex()}"
        )
    return word >> 29, word & _MAX_PART


def read(path: Path, offset: int, length: int) -> bytes:
    """Return the payload of the record whose frames take `length` bytes of the file, starting at `offset`."""
    with open(path, "rb") as file:
        file.seek(offset)
        frames = file.read(length)
    parts, at = [], 0
    while at < len(frames):
        _, size = _frame(path, offset + at, frames[at : at + _FRAME.size])
        parts.append(frames[at + _FRAME.size : at + _FRAME.size + size])
        at += _FRAME.size + size + (-size % 4)
    return MAGIC_BYTES.join(parts)
