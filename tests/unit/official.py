"""Build a small data set, photo by photo, in the official layout of the Oxford-IIIT Pet data set."""

import io
from pathlib import Path

from PIL import Image

from tests.photos import TURNS

HEAD = (10, 5, 30, 20)
RED, BLUE = (220, 20, 20), (20, 20, 220)


def picture() -> Image.Image:
    """Return a blue photo of 64 x 48 pixels with a red rectangle at HEAD."""
    photo = Image.new("RGB", (64, 48), BLUE)
    photo.paste(RED, HEAD)
    return photo


def encode(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def as_stored(image: Image.Image, orientation: int) -> Image.Image:
    """Return `image` as a camera stores it with this EXIF orientation."""
    return image.transpose(TURNS[orientation]) if orientation > 1 else image


def exif_rotated(image: Image.Image, orientation: int) -> bytes:
    """Return a JPEG that looks like `image` once its EXIF orientation is applied."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(as_stored(image, orientation), exif=exif, quality=95)


class Pets:
    """A data set in the official layout. It starts with one photo without annotations, pug_900, in test.txt."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "images").mkdir(parents=True)
        (root / "annotations" / "xmls").mkdir(parents=True)
        (root / "annotations" / "trimaps").mkdir()
        self._lines: dict[str, list[str]] = {"trainval": [], "test": []}
        self.add("pug_900", encode(picture()), split="test")

    def add(
        self,
        name: str,
        photo: bytes | None,
        xml: str | None = None,
        trimap: bytes | None = None,
        split: str = "trainval",
    ) -> None:
        """Add a photo to a list. None leaves the file out."""
        numbers = "6 1 1" if name[0].isupper() else "9 2 1"
        self._lines[split].append(f"{name} {numbers}\n")
        if photo is not None:
            (self.root / "images" / f"{name}.jpg").write_bytes(photo)
        if xml is not None:
            (self.root / "annotations" / "xmls" / f"{name}.xml").write_text(xml)
        if trimap is not None:
            (self.root / "annotations" / "trimaps" / f"{name}.png").write_bytes(trimap)
        (self.root / "annotations" / f"{split}.txt").write_text("".join(self._lines[split]))
