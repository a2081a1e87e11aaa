"""Decoding of requests' images within a budget: ordinary ones here, all others in a sandbox."""

import math
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from PIL import Image

from serve import jobs, preprocess
from serve.artifact import InputSpec
from serve.errors import TooLarge, from_body
from serve.preprocess import Loaded, UnreadableImage
from serve.sandbox import Crashed, Exhausted, Sandbox

PIXELS_HERE = 16_000_000
"""Most pixels, as decoded, of an image that is decoded in this process: 64 MB, and as much again to turn it upright."""

_HEADER_BYTES, _SEGMENTS = 1 << 20, 1000
"""Of a JPEG before its first scan: Pillow reads that part in Python, at most 0.1 s for so much."""
_CHUNKS, _BYTES_A_CHUNK = 100, 4096
"""Of a PNG, which Pillow reads in Python too: so many chunks, and one more for each so many bytes."""

_DEAREST = 20
"""Bytes that no pixel exceeds while it is decoded, by the formats that were measured (docs/serving.md)."""

_START_OF_FRAME = range(0xC0, 0xD0)
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # tables, and one that is reserved
_BASELINE, _START_OF_SCAN = 0xC0, 0xDA
_ALONE = (0x01, *range(0xD0, 0xDA))  # markers without a length; none belongs before the first scan
_PNG = b"\x89PNG\r\n\x1a\n"
_UNUSUAL_CHUNKS = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # transparency, animation


class Decoder:
    """Turns the bytes of images into tensors, as serve.preprocess does; safe to share by threads."""

    def __init__(self, sandbox: Sandbox, max_pixels: int = preprocess.MAX_PIXELS) -> None:
        self._sandbox = sandbox
        self._max_pixels = max_pixels

    def prepare(self, data: bytes, spec: InputSpec) -> Callable[[], Loaded]:
        """Return the function that gives what preprocess.load_sized does. What is not ordinary is decoded at once.

        Raises UnreadableImage, TooLarge for an image that exhausts its budget, and Unavailable when the sandbox has no
        room; the function raises UnreadableImage.
        """
        if is_ordinary(data, spec):
            return partial(preprocess.load_sized, data, spec, self._max_pixels)
        image, size = self._cut_sized(data, spec)
        return lambda: (preprocess.to_tensor(image, spec), size)

    def _cut_sized(self, data: bytes, spec: InputSpec) -> tuple[Image.Image, tuple[int, int]]:
        if not data:
            raise UnreadableImage("is empty (0 bytes)")
        try:
            message = self._sandbox.run(jobs.IMAGE, jobs.ask_for_image(spec, self._max_pixels), data)
        except Exhausted as error:
            raise TooLarge(self._too_much(error.what, error.notes)) from error
        except Crashed as error:
            raise UnreadableImage(f"is damaged (its decoder ended by {error})") from error
        try:
            return jobs.image_of(message)
        except UnreadableImage as error:
            raise self._judged(error, message[0].get("header")) from error

    def _judged(self, error: UnreadableImage, header: tuple[int, int] | None) -> Exception:
        """The error itself, or what may lie behind it: some decoders take a want of memory for damage."""
        if header is not None and _DEAREST * math.prod(header) > self._sandbox.memory:
            return TooLarge(f"{self._too_much('memory', {'header': header})} Or it {from_body(str(error))}.")
        if header is None and str(error).startswith("is damaged"):
            return UnreadableImage(f"{error}, or takes more than {self._sandbox.memory // 2**20} MB to decode")
        return error

    def _too_much(self, what: str, notes: dict[str, Any]) -> str:
        width, height = notes.get("header", (0, 0))
        image = f"The image of {width} x {height} pixels" if width else "The image's header"
        if what == "time":
            return f"{image} takes more than {self._sandbox.seconds:g} s to decode; send it as a plain JPEG or PNG."
        limit = self._sandbox.memory // 2**20
        return f"{image} takes more than {limit} MB to decode; send a smaller one, or send it as a plain JPEG."


def is_ordinary(data: bytes, spec: InputSpec) -> bool:
    """Whether decoding costs little, whatever else the bytes hold: 160 MB and a second at most.

    So is a baseline JPEG of one scan, and a PNG of up to 8 bits without alpha or interlacing, as long as what comes
    before the pixels is short and what is decoded for the model is at most PIXELS_HERE.
    """
    jpeg = data[:2] == b"\xff\xd8"
    try:
        size = _baseline_jpeg(data) if jpeg else _plain_png(data)
    except (struct.error, IndexError):  # it ends before its pixels begin
        return False
    if size is None:
        return False
    reduction = _reduction(size, **preprocess.needed(spec)) if jpeg else 1
    return size[0] * size[1] <= PIXELS_HERE * reduction**2


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
    position = len(_PNG)
    for _ in range(_CHUNKS + len(data) // _BYTES_A_CHUNK):
        if position >= len(data):
            return width, height
        if data[position + 4 : position + 8] in _UNUSUAL_CHUNKS:
            return None
        position += 12 + int.from_bytes(data[position : position + 4])
    return None
