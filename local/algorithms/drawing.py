"""Draws labelled boxes and masks on photos."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from local.algorithms import pages
from serve.tasks.masks import PALETTE

Corners = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, all inclusive."""
Colour = tuple[int, int, int]
_COLOURED = 0.65


def corners(box: NDArray[np.float64], x: int = 0, y: int = 0) -> Corners:
    """Return the corners of a box [left, top, right, bottom] on a photo with its upper left corner at `x`, `y`."""
    left, top, right, bottom = (round(float(value)) for value in box)
    return x + left, y + top, max(x + right - 1, x + left), max(y + bottom - 1, y + top)


def outline(pen: ImageDraw.ImageDraw, corners: Corners, colour: Colour) -> None:
    """Draw a rectangle in `colour` with a dark outline, so that it is visible on any photo."""
    left, top, right, bottom = corners
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=pages.INK, width=4)
    pen.rectangle(corners, outline=colour, width=2)


def tag(pen: ImageDraw.ImageDraw, corners: Corners, text: str, colour: Colour, width: int) -> None:
    """Write `text` on a bar above the box, or inside it if there is no room above; the image is `width` wide."""
    font = ImageFont.load_default(12)
    bar_width, bar_height = round(pen.textlength(text, font=font)) + 6, 16
    left = max(min(corners[0], width - bar_width), 0)
    top = corners[1] - bar_height if corners[1] >= bar_height else corners[1]
    pen.rectangle((left, top, left + bar_width, top + bar_height - 1), fill=colour)
    red, green, blue = colour
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 140  # luma, ITU-R BT.601
    pen.text((left + 3, top), text, fill=pages.INK if light else "white", font=font)


def overlay(photo: Image.Image, mask: NDArray[np.uint8]) -> Image.Image:
    """Return the photo in grey with its mask on top, in the colours of the classes.

    `mask` is uint8 (H, W) class ids, of any size.
    """
    coloured = Image.fromarray(mask).resize(photo.size, Image.Resampling.NEAREST)
    coloured.putpalette(PALETTE)
    return Image.blend(photo.convert("L").convert("RGB"), coloured.convert("RGB"), _COLOURED)
