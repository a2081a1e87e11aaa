"""A small data set in the official layout of the Oxford-IIIT Pet data set, photo by photo, and photos for it."""

import io
from pathlib import Path

from PIL import Image

from tests.photos import TURNS

HEAD = (10, 5, 30, 20)
RED, BLUE = (220, 20, 20), (20, 20, 220)


def picture() -> Image.Image:
    """A blue photo of 64 x 48 pixels with a red HEAD."""
    photo = Image.new("RGB", (64, 48), BLUE)
    photo.paste(RED, HEAD)
    return photo


def encode(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def lying(image: Image.Image, orientation: int) -> Image.Image:
    """The picture that is stored where EXIF's orientation turns it into `image`."""
    return image.transpose(TURNS[orientation]) if orientation > 1 else image


def turned(image: Image.Image, orientation: int) -> bytes:
    """The JPEG that EXIF turns into `image`."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(lying(image, orientation), exif=exif, quality=95)


class Pets:
    """A data set in the official layout. It begins with one photo without annotations, pug_900, in test.txt."""

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
        """Add a photo to a list, None for a file that is not there."""
        numbers = "6 1 1" if name[0].isupper() else "9 2 1"
        self._lines[split].append(f"{name} {numbers}\n")
        if photo is not None:
            (self.root / "images" / f"{name}.jpg").write_bytes(photo)
        if xml is not None:
            (self.root / "annotations" / "xmls" / f"{name}.xml").write_text(xml)
        if trimap is not None:
            (self.root / "annotations" / "trimaps" / f"{name}.png").write_bytes(trimap)
        (self.root / "annotations" / f"{split}.txt").write_text("".join(self._lines[split]))
