"""Draws photos, encodes them as files, and rotates them by EXIF orientation."""

import io
from typing import Any

from PIL import Image

TURNS = {  # EXIF orientation: the operation that turns the upright picture into the stored one
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Return the image as a file. JPEGs have high quality."""
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}), **options)
    return file.getvalue()


def solid(*colour: int, kind: str = "PNG") -> bytes:
    """Return a small photo of one colour."""
    return encode(Image.new("RGB", (30, 20), colour), kind)


def quarters(width: int, height: int) -> Image.Image:
    """Draw a photo with red top left, green top right, blue bottom left and black bottom right."""
    image = Image.new("RGB", (width, height))
    for colour, left, top in (((255, 0, 0), 0, 0), ((0, 255, 0), width // 2, 0), ((0, 0, 255), 0, height // 2)):
        right, bottom = (width if left else width // 2), (height if top else height // 2)
        image.paste(colour, (left, top, right, bottom))
    return image


def encode_rotated(upright: Image.Image, orientation: int, kind: str = "JPEG") -> bytes:
    """Return the file that a camera with this EXIF orientation would store."""
    turn = TURNS[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(upright if turn is None else upright.transpose(turn), kind, exif=exif)
