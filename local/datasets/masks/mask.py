"""Read mask files of a data set in several formats."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from local.datasets.files import texts
from local.errors import UserError
from serve.preprocess import MAX_PIXELS, UnreadableImage
from train.semantic_segmentation import masks

Result = TypeVar("Result")
Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
SUFFIXES = (".png", ".gif", ".bmp", ".tif", ".tiff")
"""Extensions of lossless mask formats."""


@dataclass(frozen=True)
class DecodedMask:
    """The pixels of a mask as uint8 (H, W): class numbers, or masks.IGNORE for no class.

    `png` is a file with exactly these pixels, or None. `repaired` is set if they were read from a colour picture.
    """

    pixels: NDArray[np.uint8]
    png: bytes | None = None
    repaired: bool = False


@dataclass(frozen=True)
class Mask:
    """The mask of a photo: its name for messages, and a function to read it that raises UserError naming `source`."""

    source: str
    read: Callable[[], DecodedMask]


def read_numbers(path: Path, source: str) -> DecodedMask:
    """Read a file whose pixels are numbers. Raise UserError naming `source` if they are not."""
    return decode_numbers(read_as_png(path, source), source)


def decode_numbers(png: bytes, source: str) -> DecodedMask:
    """Decode a PNG whose pixels are numbers. Raise UserError naming `source` if they are not."""
    try:
        pixels, repaired = masks.decode(png)
    except UnreadableImage as error:
        raise UserError(f"{source} {error}") from None
    return DecodedMask(pixels, None if repaired else png, repaired)


def read_as_png(path: Path, source: str) -> bytes:
    """Read a mask file, and convert GIF, BMP and TIFF to PNG. Raise UserError naming `source` if that fails."""
    data = texts.read_bytes(path, source)
    if not data.startswith((b"GIF8", b"BM", b"II*\0", b"MM\0*")):
        return data
    return apply_to_image(data, ("GIF", "BMP", "TIFF"), source, _png)


def read_palette(png: bytes, source: str) -> list[Colour]:
    """Return the colours of a PNG's palette by number, or []. Raise UserError naming `source` if it cannot be read."""
    flat = apply_to_image(png, ("PNG",), source, lambda image: image.getpalette("RGB")) or []
    return list(zip(flat[::3], flat[1::3], flat[2::3], strict=False))


def read_colours(png: bytes, source: str, limit: int) -> set[Colour]:
    """Return the colours of a PNG's pixels, ignoring transparency.

    Raise UserError naming `source` if the file cannot be read or has more than `limit` colours.
    """
    counts = apply_to_image(png, ("PNG",), source, lambda image: image.convert("RGB").getcolors(limit))
    if counts is None:
        raise UserError(
            f"{source} has more than {limit} colours, and a mask has one for each class: it may be a photo, a JPEG or "
            "a mask that was resized with smoothing; export it again as a PNG with the photo's size"
        )
    return {(colour[0], colour[1], colour[2]) for _, colour in counts if isinstance(colour, tuple)}


def _png(image: Image.Image) -> bytes:
    # Grey GIFs have a palette whose order is arbitrary.
    colours = image.convert("RGB").getcolors(256) if image.format == "GIF" else None
    if colours and all(isinstance(colour, tuple) and len(set(colour)) == 1 for _, colour in colours):
        image = image.convert("L")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def apply_to_image(
    data: bytes, formats: tuple[str, ...] | None, source: str, use: Callable[[Image.Image], Result]
) -> Result:
    """Open an image file in one of `formats` (None: any) and return `use` of it. Raise UserError naming `source`."""
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(
                    f"{source} has {image.width} x {image.height} pixels, and the limit is {MAX_PIXELS}: scale it down"
                )
            return use(image)
    except (UserError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UserError(f"{source} is {'not an image' if data else 'empty'}: export it again as a PNG") from None
    # Pillow raises many types of exceptions for damaged files.
    except Exception as error:
        raise UserError(f"{source} is damaged ({error}): export it again as a PNG") from error
