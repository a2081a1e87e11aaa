"""Copy a few photos of the Oxford-IIIT Pet data set, some of them stored rotated with an EXIF orientation."""

import shutil
from pathlib import Path

from PIL import Image

from tests.photos import encode_rotated


def copy(pets: Path, root: Path, step: int, rotated: int = 0) -> Path:
    """Copy every `step`-th photo of the lists with its annotations to `root`.

    Of the first `rotated` photos, the JPEGs that are not square are stored rotated, with an EXIF orientation.
    """
    for folder in ("images", "annotations/xmls", "annotations/trimaps"):
        (root / folder).mkdir(parents=True)
    for name in ("trainval.txt", "test.txt"):
        lines = (pets / "annotations" / name).read_text().splitlines()
        lines_to_copy = [line for line in lines if not line.startswith("#")][::step]
        (root / "annotations" / name).write_text("".join(f"{line}\n" for line in lines_to_copy))
        for photo in (line.split()[0] for line in lines_to_copy):
            for file in (f"images/{photo}.jpg", f"annotations/xmls/{photo}.xml", f"annotations/trimaps/{photo}.png"):
                if (pets / file).is_file():
                    shutil.copy(pets / file, root / file)
    for number, path in enumerate(sorted((root / "images").iterdir())[:rotated]):
        with Image.open(path) as image:
            if image.format == "JPEG" and image.width != image.height:
                path.write_bytes(encode_rotated(image.convert("RGB"), (6, 8, 5, 7)[number % 4]))
    return root
