"""Masks of a data set, whatever it keeps them in."""

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
"""What the names of masks end in: formats that change no pixel."""


@dataclass(frozen=True)
class DecodedMask:
    """A mask's pixels, uint8 (H, W): a number for each class, masks.IGNORE for none.

    `png` is a file that holds them as they are, where there is one; `repaired` says that they were read from a colour
    picture.
    """

    pixels: NDArray[np.uint8]
    png: bytes | None = None
    repaired: bool = False


@dataclass(frozen=True)
class Mask:
    """The mask of a photo: what messages call it, and how it is read. `read` raises UserError, naming `source`."""

    source: str
    read: Callable[[], DecodedMask]


def read_numbers(path: Path, source: str) -> DecodedMask:
    """Read a file whose pixels are numbers. Raises UserError naming `source` for a file that is none."""
    return decode_numbers(read_as_png(path, source), source)


def decode_numbers(png: bytes, source: str) -> DecodedMask:
    """Decode a PNG whose pixels are numbers. Raises UserError naming `source`."""
    try:
        pixels, repaired = masks.decode(png)
    except UnreadableImage as error:
        raise UserError(f"{source} {error}") from None
    return DecodedMask(pixels, None if repaired else png, repaired)


def read_as_png(path: Path, source: str) -> bytes:
    """Read a mask's file as a PNG: GIF, BMP and TIFF are made one. Raises UserError naming `source`."""
    data = texts.read_bytes(path, source)
    if not data.startswith((b"GIF8", b"BM", b"II*\0", b"MM\0*")):
        return data
    return apply_to_image(data, ("GIF", "BMP", "TIFF"), source, _png)


def read_palette(png: bytes, source: str) -> list[Colour]:
    """The colours of a PNG's palette by number; none without a palette. Raises UserError naming `source`."""
    flat = apply_to_image(png, ("PNG",), source, lambda image: image.getpalette("RGB")) or []
    return list(zip(flat[::3], flat[1::3], flat[2::3], strict=False))


def read_colours(png: bytes, source: str, limit: int) -> set[Colour]:
    """The colours of a PNG's pixels; transparency is passed over.

    Raises UserError naming `source`, also where there are more than `limit`.
    """
    found = apply_to_image(png, ("PNG",), source, lambda image: image.convert("RGB").getcolors(limit))
    if found is None:
        raise UserError(
            f"{source} has more than {limit} colours, and a mask has one for each class: a photo, a mask that was a "
            "JPEG or was resized with smoothing? export it again, as a PNG of the photo's size"
        )
    return {(colour[0], colour[1], colour[2]) for _, colour in found if isinstance(colour, tuple)}


def _png(image: Image.Image) -> bytes:
    # Grey has a palette in GIF, whose order means nothing.
    colours = image.convert("RGB").getcolors(256) if image.format == "GIF" else None
    if colours and all(isinstance(colour, tuple) and len(set(colour)) == 1 for _, colour in colours):
        image = image.convert("L")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def apply_to_image(
    data: bytes, formats: tuple[str, ...] | None, source: str, use: Callable[[Image.Image], Result]
) -> Result:
    """What `use` makes of an image file of one of the `formats`, None for any. Raises UserError naming `source`."""
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f"{source} has {image.width} x {image.height} pixels, the limit is {MAX_PIXELS} in all")
            return use(image)
    except (UserError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise UserError(f"{source} is {'not an image' if data else 'empty'}: export it again, as a PNG") from None
    # Damaged bytes make Pillow raise errors of many kinds, and the reason is passed on.
    except Exception as error:
        raise UserError(f"{source} is damaged ({error}): export it again, as a PNG") from error
