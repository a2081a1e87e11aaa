"""Facts about photos that need their pixels, cached: the inspection reuses what `prepare` has found out."""

import hashlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from serve import preprocess
from serve.preprocess import Frame

_TINT = 8
"""How far red, green and blue of a grey photo may differ, of 255: scans and old JPEG files are not quite even."""
_GRID = 64


class PhotoInfo(NamedTuple):
    """A photo's frame (from its header), whether it is grey, and a digest of its upright pixels."""

    frame: Frame
    grey: bool
    digest: bytes


class PhotoCache:
    """PhotoInfo by the bytes of the photo's file, so that no photo is decoded twice."""

    def __init__(self) -> None:
        self._seen: dict[bytes, PhotoInfo] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def at(self, data: bytes) -> PhotoInfo:
        """Return the look at an image file's bytes. Raises UnreadableImage."""
        found = self._seen.get(_digest(data))
        return self.add(data, preprocess.decode(data)) if found is None else found

    def add(self, data: bytes, image: Image.Image) -> PhotoInfo:
        """Keep and return the look at an image file's bytes, which have been decoded as `image`, upright and RGB."""
        pixels = np.asarray(image)
        some = pixels[:: max(1, image.height // _GRID), :: max(1, image.width // _GRID)].astype(np.int16)
        grey = int(np.ptp(some, axis=2).max()) <= _TINT
        look = PhotoInfo(preprocess.frame(data), grey, _digest(f"{image.size}".encode(), pixels.data))
        self._seen[_digest(data)] = look
        return look


def _digest(*parts: bytes | memoryview) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        hashed.update(part)
    return hashed.digest()
