"""MXNet's RecordIO files and the header that image records carry.

Framing (dmlc-core's recordio.h): little-endian uint32 magic 0xCED7230A, uint32 `cflag << 29 | length`, the
payload, zero bytes up to a multiple of 4. A payload that contains the magic at a 4-byte boundary is split
there: `cflag` is 0 for a whole record, 1, 2 and 3 for its first, middle and last part, and the magic that
stood between two parts is left out of the file.

Image records (MXNet's `image_recordio.h`) begin with `struct '<IfQQ'`: flag, label, id, id2. With flag > 0
the label is instead that many float32 values right after the header.
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

# What people put into a RecordIO channel by mistake, by its first bytes.
_LOOKS_LIKE = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PK\x03\x04", "a zip archive"),
    (b"{", "JSON text"),
    (b"[", "JSON text"),
)


class RecordIOError(ValueError):
    """A RecordIO file or record is not what its format says; the message names file, offset and cause."""


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

    Raises RecordIOError when the payload is shorter than its header says.
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
            f"a record of {plural(len(record), 'byte')} is too short for the {plural(flag, 'label')} of its header"
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
        """Append one record. Raises RecordIOError above the format's 2**29 - 1 bytes a part."""
        parts = _split(record)
        for number, part in enumerate(parts):
            if len(part) > _MAX_PART:
                raise RecordIOError(f"a record part of {len(part)} bytes is longer than RecordIO's {_MAX_PART}")
            flag = (
                _WHOLE if len(parts) == 1 else _FIRST if number == 0 else _LAST if number == len(parts) - 1 else _MIDDLE
            )
            self._file.write(_FRAME.pack(MAGIC, flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4))


def _split(record: bytes) -> list[bytes]:
    """Cut a payload at every magic number that stands at a multiple of 4 bytes from the record's start."""
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
    """Yield (offset, length) in bytes of every record's frames in the file, without reading the payloads.

    `read(path, offset, length)` gives the payload back. Raises RecordIOError naming the file and the offset at
    which it stops being RecordIO.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        offset, start = 0, None
        while offset < size:
            flag, length = _frame(path, offset, file.read(_FRAME.size))
            if (start is None) != (flag in (_WHOLE, _FIRST)):
                raise RecordIOError(
                    f"{path} at byte {offset}: a record's part {flag} stands where another was due: the "
                    "file is damaged; make it again"
                )
            start = offset if start is None else start
            offset += _FRAME.size + length + (-length % 4)
            if offset > size:
                raise RecordIOError(
                    f"{path} is truncated: its last record needs {offset} bytes and the file has "
                    f"{size}; copy or make it again"
                )
            file.seek(offset)
            if flag in (_WHOLE, _LAST):
                yield start, offset - start
                start = None
        if start is not None:
            raise RecordIOError(
                f"{path} is truncated: its last record, at byte {start}, has no end; copy or make it again"
            )


def _frame(path: Path, offset: int, head: bytes) -> tuple[int, int]:
    """Return (cflag, length) of the frame whose first 8 bytes are `head`."""
    if len(head) < _FRAME.size:
        raise RecordIOError(
            f"{path} is truncated: {plural(len(head), 'byte')} at byte {offset} where a record's 8-byte frame was "
            "due; copy or make it again"
        )
    magic, word = _FRAME.unpack(head)
    if magic != MAGIC:
        looks = next((name for start, name in _LOOKS_LIKE if head.startswith(start)), f"bytes {head[:4].hex()}")
        raise RecordIOError(
            f"{path} is not a RecordIO file: at byte {offset} stands {looks}, not RecordIO's magic "
            f"number {MAGIC_BYTES.hex()}"
        )
    return word >> 29, word & _MAX_PART


def read(path: Path, offset: int, length: int) -> bytes:
    """Return the payload of the record whose frames take `length` bytes of the file from `offset` on."""
    with open(path, "rb") as file:
        file.seek(offset)
        frames = file.read(length)
    parts, at = [], 0
    while at < len(frames):
        _, size = _frame(path, offset + at, frames[at : at + _FRAME.size])
        parts.append(frames[at + _FRAME.size : at + _FRAME.size + size])
        at += _FRAME.size + size + (-size % 4)
    return MAGIC_BYTES.join(parts)
