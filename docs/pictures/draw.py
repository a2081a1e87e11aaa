"""Make the pictures of the README and of the algorithms' pages from what the demos have drawn.

    make demo/NAME for each of the four algorithms, then
    .venvs/dev/bin/python docs/pictures/draw.py

Reads .demo/NAME/predictions.png and writes NAME.jpg and demos.jpg next to this file.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NAMES = ("image-classification", "image-classification-tensorflow", "object-detection", "semantic-segmentation")
PAGE = (1000, 520)
TILE = (500, 400)
QUALITY = 82


def cut(sheet: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the upper left part of a sheet, at most `size` (width, height) in pixels, cut between its cards."""
    white = (np.asarray(sheet) == 255).all(axis=2)  # (H, W)
    right, bottom = (int(np.flatnonzero(white.all(axis=axis)[:most])[-1]) for axis, most in enumerate(size))
    return sheet.crop((0, 0, right, bottom))


def main() -> int:
    """Write the five pictures. Returns 2 if a demo has not run."""
    sheets = {name: ROOT / ".demo" / name / "predictions.png" for name in NAMES}
    missing = [name for name, path in sheets.items() if not path.exists()]
    if missing:
        print(f"{sheets[missing[0]]} does not exist: run `make demo/{missing[0]}` first", file=sys.stderr)
        return 2
    composite = Image.new("RGB", (2 * TILE[0], 2 * TILE[1]), "white")
    for number, (name, path) in enumerate(sheets.items()):
        sheet = Image.open(path).convert("RGB")
        cut(sheet, PAGE).save(HERE / f"{name}.jpg", quality=QUALITY)
        down, across = divmod(number, 2)
        composite.paste(cut(sheet, TILE), (across * TILE[0], down * TILE[1]))
    composite.save(HERE / "demos.jpg", quality=QUALITY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
