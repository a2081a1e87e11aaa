"""Which images cost little to decode, told from their headers: they need no sandbox."""

import struct

from serve import preprocess
from serve.artifact import InputSpec

PIXELS_HERE = 16_000_000
"""Most pixels, as decoded, of an ordinary image: 64 MB, and as much again to turn it upright. About a second."""

_HEADER_BYTES, _SEGMENTS = 1 << 20, 1000
"""Of a JPEG before its first scan: Pillow reads that part in Python, at most 0.1 s for so much."""
_CHUNKS, _BYTES_A_CHUNK = 50, 4096
"""Of a PNG, which Pillow reads in Python too: so many that hold no pixels, and one that does for so many bytes."""

_START_OF_FRAME = range(0xC0, 0xD0)
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # tables, and one that is reserved
_BASELINE, _START_OF_SCAN = 0xC0, 0xDA
# Markers without a length, of which none belongs before the first scan, and fill bytes and what they may hide.
_ALONE = (0x00, 0x01, *range(0xD0, 0xDA), 0xFF)
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_ONCE = (b"IHDR", b"iCCP", b"PLTE")  # a later one would count, or be unpacked again
_UNUSUAL = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # transparency, animation


def reduced_size(data: bytes, spec: InputSpec) -> tuple[int, int] | None:
    """Width and height of an ordinary image as it is decoded for a model, at most PIXELS_HERE in all; else None."""
    found = size(data)
    if found is None:
        return None
    times = _reduction(found, **preprocess.needed(spec)) if data.startswith(_JPEG) else 1
    reduced = (-(-found[0] // times), -(-found[1] // times))
    return reduced if reduced[0] * reduced[1] <= PIXELS_HERE else None


def size(data: bytes) -> tuple[int, int] | None:
    """Width and height of an image that costs little for each pixel, whatever else the bytes hold; else None.

    So is a baseline JPEG of one scan, and a PNG of up to 8 bits without alpha or interlacing, as long as what comes
    before the pixels is short.
    """
    try:
        return _baseline_jpeg(data) if data.startswith(_JPEG) else _plain_png(data)
    except (struct.error, IndexError):  # it ends before its pixels begin
        return None


def _reduction(size: tuple[int, int], short_side: int | None = None, long_side: int | None = None) -> int:
    """How many times smaller a JPEG of that size is decoded by the keywords of preprocess.decode: 1, 2, 4 or 8."""
    side, enough = (min(size), short_side) if short_side else (max(size), long_side or max(size))
    return next(times for times in (8, 4, 2, 1) if times == 1 or side // times >= enough)


def _baseline_jpeg(data: bytes) -> tuple[int, int] | None:
    """Width and height of a JPEG of 8 bits whose one scan has all its components; None for any other.

    ITU T.81, annex B.
    """
    position, size, components = 2, (0, 0), 0
    for _ in range(_SEGMENTS):
        start, marker = data[position], data[position + 1]
        if start != 0xFF or marker in _ALONE or position > _HEADER_BYTES:
            return None
        if marker == _START_OF_SCAN:
            return size if components and data[position + 4] == components else None
        if marker in _START_OF_FRAME and marker not in _NO_FRAME:
            precision, height, width, count = struct.unpack_from(">BHHB", data, position + 4)
            if marker != _BASELINE or precision != 8 or components:
                return None
            size, components = (width, height), count
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return None


def _plain_png(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG of up to 8 bits without alpha, interlacing or many chunks; None for any other."""
    if not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return None
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    if depth > 8 or colour not in (0, 2, 3) or interlaced:
        return None
    position, pixels, others = len(_PNG), 0, []
    while position < len(data):
        name = data[position + 4 : position + 8]
        if name == b"IEND":
            break
        if name == b"IDAT":
            pixels += 1
        else:
            others.append(name)
        if name in _UNUSUAL or len(others) > _CHUNKS or pixels > _CHUNKS + len(data) // _BYTES_A_CHUNK:
            return None
        position += 12 + int.from_bytes(data[position : position + 4])
    return (width, height) if all(others.count(name) <= 1 for name in _ONCE) else None
