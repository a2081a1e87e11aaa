"""Masks of a data set, whatever it keeps them in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from local.errors import UserError
from serve.preprocess import UnreadableImage
from train.semantic_segmentation import masks


@dataclass(frozen=True)
class Painted:
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
    read: Callable[[], Painted]


def from_png(path: Path, source: str) -> Painted:
    """Read a PNG whose pixels are numbers. Raises UserError naming `source` for a file that is none."""
    try:
        data = path.read_bytes()
        pixels, repaired = masks.decode(data)
    except OSError as error:
        raise UserError(f"{source} cannot be read ({error.strerror}): fix or remove it") from None
    except UnreadableImage as error:
        raise UserError(f"{source} {error}") from None
    return Painted(pixels, None if repaired else data, repaired)
