"""Small image files that take a lot of memory or processor time to decode."""

import io
import struct
import zlib

from PIL import Image

GREY, RGB, PALETTE, RGBA = 0, 2, 3, 6  # colour types of a PNG


def png(width: int, height: int, colour: int = RGB, depth: int = 8, transparent: bool = False) -> bytes:
    """Return a black PNG of any size. Writing it takes little memory, reading it a lot."""
    samples = {GREY: 1, RGB: 3, PALETTE: 1, RGBA: 4}[colour]
    row = bytes(1 + width * samples * depth // 8)
    rows = max(1, min(height, 2**20 // len(row)))
    compressor = zlib.compressobj(1)
    pixels = [compressor.compress(row * rows) for _ in range(height // rows)]
    pixels += [compressor.compress(row * (height % rows)), compressor.flush()]
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
            png_chunk(b"PLTE", bytes(6)) if colour == PALETTE else b"",
            png_chunk(b"tRNS", b"\x00\x80") if transparent else b"",
            png_chunk(b"IDAT", b"".join(pixels)),
            png_chunk(b"IEND", b""),
        )
    )


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of_chunks(count: int) -> bytes:
    """Return a small PNG with `count` empty chunks, which Pillow reads in Python code."""
    whole = png(8, 8)
    return whole[:33] + png_chunk(b"teSt", b"") * count + whole[33:]


def webp() -> bytes:
    """Return a WebP of 16383 x 6000 pixels in 34 bytes."""
    return bytes.fromhex("524946461a000000574542505650384c0e0000002ffeffdb05071011fd0f4444ff03")


def bmp(width: int) -> bytes:
    """Return an RLE8 bitmap of one row in 1,082 bytes: a run of 255 pixels. Pillow pads the row in Python code."""
    run, start = b"\xff\x00\x00\x00", 14 + 40 + 1024
    header = struct.pack("<IiiHHIIiiII", 40, width, 1, 1, 8, 1, len(run), 2835, 2835, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(run), 0, 0, start) + header + bytes(1024) + run


def progressive_jpeg(side: int, scans: int) -> bytes:
    """Return a progressive JPEG of one colour with `scans` copies of its last scan."""
    whole = _jpeg(Image.new("RGB", (side, side), (99, 120, 40)), progressive=True, quality=30)
    last = whole[whole.rfind(b"\xff\xda") : -2]
    return whole[:-2] + last * scans + whole[-2:]


def jpeg_of_segments(count: int, segment: bytes = b"\xff\xfe\x00\x02") -> bytes:
    """Return a small JPEG with `count` segments (empty comments by default), which Pillow reads in Python code."""
    whole = _jpeg(Image.new("RGB", (64, 64)))
    return whole[:2] + segment * count + whole[2:]


def photoshop_segment() -> bytes:
    """Return a JPEG segment with 5,400 empty Photoshop resources, which Pillow reads in Python code."""
    resources = b"Photoshop 3.0\x00" + (b"8BIM" + struct.pack(">HH", 0x0404, 0) + bytes(4)) * 5400
    return b"\xff\xed" + struct.pack(">H", 2 + len(resources)) + resources


def pgm(width: int, height: int, maxval: int) -> bytes:
    """Return a black PGM. Pillow reads it in Python code unless the maximum value is 255 or 65535."""
    return f"P5 {width} {height} {maxval}\n".encode() + bytes(width * height * (2 if maxval > 255 else 1))


def tiff_of_a_tile(side: int) -> bytes:
    """Return a TIFF of 16 x 16 pixels with one tile of `side` x `side` pixels."""
    tile = zlib.compress(bytes(side * side), 1)
    short, long = 3, 4
    tags = [
        (256, short, 16), (257, short, 16), (258, short, 8), (259, short, 8), (262, short, 1), (277, short, 1),
        (322, long, side), (323, long, side), (324, long, 0), (325, long, len(tile)),
    ]  # fmt: skip
    start = 8 + 2 + 12 * len(tags) + 4
    directory = struct.pack("<H", len(tags))
    for tag, kind, value in tags:
        value = start if tag == 324 else value
        directory += struct.pack("<HHI", tag, kind, 1) + struct.pack(
            "<HH" if kind == short else "<I", *((value, 0) if kind == short else (value,))
        )
    return b"II*\x00" + struct.pack("<I", 8) + directory + bytes(4) + tile


def _jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


BODIES = {
    "grey PNG": lambda: png(10_000, 10_000, GREY),
    "PNG": lambda: png(10_000, 10_000),
    "PNG with transparent colours": lambda: png(10_000, 10_000, PALETTE, transparent=True),
    "16-bit PNG": lambda: png(10_000, 10_000, GREY, depth=16),
    "PNG with alpha": lambda: png(10_000, 10_000, RGBA),
    "PNG of one column": lambda: png(1, 100_000_000, GREY),
    "PNG of a million chunks": lambda: png_of_chunks(1_000_000),
    "WebP of 34 bytes": webp,
    "tile of a TIFF": lambda: tiff_of_a_tile(30_000),
    "BMP of one row": lambda: bmp(100_000_000),
    "progressive JPEG": lambda: progressive_jpeg(8000, 1000),
    "JPEG of a million segments": lambda: jpeg_of_segments(4_000_000),
    "JPEG of Photoshop's resources": lambda: jpeg_of_segments(1000, photoshop_segment()),
    "PGM of maxval 254": lambda: pgm(4000, 2500, 254),
    "PGM of 12 bits": lambda: pgm(4000, 3000, 4095),
}
"""Each is within the limits of a request, and about 100 megapixels if the size matters."""
