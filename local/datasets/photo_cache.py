"""A cache of facts that are computed from the pixels of photos. `prepare` fills it and the inspection uses it."""

import hashlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from serve import preprocess
from serve.preprocess import Frame

_TINT = 8
"""How far red, green and blue of a grey photo may differ, out of 255. Scans and old JPEGs are not quite neutral."""
_GRID = 64


class PhotoInfo(NamedTuple):
    """The frame of a photo from its header, whether the photo is grey, and a digest of its upright pixels."""

    frame: Frame
    grey: bool
    digest: bytes


class PhotoCache:
    """Maps the bytes of photo files to PhotoInfo, so that no photo is decoded twice."""

    def __init__(self) -> None:
        self._infos: dict[bytes, PhotoInfo] = {}

    def __len__(self) -> int:
        return len(self._infos)

    def at(self, data: bytes) -> PhotoInfo:
        """Return the PhotoInfo for the bytes of an image file. Raise UnreadableImage if they cannot be decoded."""
        info = self._infos.get(_digest(data))
        return self.add(data, preprocess.decode(data)) if info is None else info

    def add(self, data: bytes, image: Image.Image) -> PhotoInfo:
        """Store and return the PhotoInfo for the bytes of an image file. `image` is the decoded photo, upright RGB."""
        pixels = np.asarray(image)
        sampled = pixels[:: max(1, image.height // _GRID), :: max(1, image.width // _GRID)].astype(np.int16)
        grey = int(np.ptp(sampled, axis=2).max()) <= _TINT
        info = PhotoInfo(preprocess.frame(data), grey, _digest(f"{image.size}".encode(), pixels.data))
        self._infos[_digest(data)] = info
        return info


def _digest(*parts: bytes | memoryview) -> bytes:
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        hashed.update(part)
    return hashed.digest()
