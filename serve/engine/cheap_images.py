"""Recognises, by its header, an image that is cheap to decode and so needs no sandbox."""

import struct

from serve import preprocess
from serve.artifact import InputSpec

MAX_PIXELS = 16_000_000
"""Maximum number of decoded pixels of a cheap image: 64 MB, the same again to turn it upright, and about a second."""

_MAX_HEADER_BYTES, _MAX_SEGMENTS = 1 << 20, 1000
"""Limits for the part of a JPEG before its first scan. Pillow parses it in Python: at most 0.1 s with these limits."""
_MAX_OTHER_CHUNKS, _MIN_CHUNK_BYTES = 50, 4096
"""Limits for a PNG: the maximum number of chunks without pixels, and the minimum mean size of chunks with pixels.
Pillow parses these in Python too."""

_START_OF_FRAME = range(0xC0, 0xD0)
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # tables, and a reserved marker
_BASELINE, _START_OF_SCAN = 0xC0, 0xDA
# Markers without a length, which must not come before the first scan, and fill bytes, which may hide such markers.
_NO_LENGTH = (0x00, 0x01, *range(0xD0, 0xDA), 0xFF)
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_ONCE = (b"IHDR", b"iCCP", b"PLTE")  # a second one would replace the first, or be unpacked again
_UNUSUAL = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # transparency, animation


def reduced_size(data: bytes, spec: InputSpec) -> tuple[int, int] | None:
    """Return the size at which a cheap image is decoded for a model; None if it has over MAX_PIXELS or is not cheap."""
    full_size = size(data)
    if full_size is None:
        return None
    factor = _reduction(full_size, **preprocess.needed(spec)) if data.startswith(_JPEG) else 1
    width, height = (-(-side // factor) for side in full_size)
    return (width, height) if width * height <= MAX_PIXELS else None


def size(data: bytes) -> tuple[int, int] | None:
    """Return the (width, height) of an image if its cost per pixel is always low, else None.

    The cost is low for baseline JPEGs with a single scan, and for PNGs with up to 8 bits and without alpha or
    interlacing, if the part before the pixels is short.
    """
    try:
        return _baseline_jpeg(data) if data.startswith(_JPEG) else _plain_png(data)
    except (struct.error, IndexError):  # it ends before the pixels
        return None


def _reduction(size: tuple[int, int], short_side: int | None = None, long_side: int | None = None) -> int:
    """Return the factor by which preprocess.decode reduces a JPEG of this size with these arguments: 1, 2, 4 or 8."""
    side, minimum = (min(size), short_side) if short_side else (max(size), long_side or max(size))
    return next(factor for factor in (8, 4, 2, 1) if factor == 1 or side // factor >= minimum)


def _baseline_jpeg(data: bytes) -> tuple[int, int] | None:
    """Return the (width, height) of an 8-bit JPEG with a single scan of all components; None for any other.

    See ITU T.81, annex B.
    """
    position, size, components = 2, (0, 0), 0
    for _ in range(_MAX_SEGMENTS):
        start, marker = data[position], data[position + 1]
        if start != 0xFF or marker in _NO_LENGTH or position > _MAX_HEADER_BYTES:
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
    """Return the (width, height) of a PNG of up to 8 bits without alpha, interlacing or many chunks, or None."""
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
        if (
            name in _UNUSUAL
            or len(others) > _MAX_OTHER_CHUNKS
            or pixels > _MAX_OTHER_CHUNKS + len(data) // _MIN_CHUNK_BYTES
        ):
            return None
        position += 12 + int.from_bytes(data[position : position + 4])
    return (width, height) if all(others.count(name) <= 1 for name in _ONCE) else None
