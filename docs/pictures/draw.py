"""Make the pictures of the README and of the algorithms' pages from the predictions of the demos.

    make demo/NAME for each of the four algorithms, then
    .venvs/dev/bin/python docs/pictures/draw.py

Reads .demo/NAME/predictions.png and writes NAME.jpg and demos.jpg next to this file.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CAPTIONS = {
    "image-classification": "image-classification: breed and probability",
    "image-classification-tensorflow": "image-classification-tensorflow: cat or dog, and probability",
    "object-detection": "object-detection: true box in green, predicted box with class and score in pink",
    "semantic-segmentation": (
        "semantic-segmentation: photo, true mask, predicted mask (dark: pet, orange: background, violet: border)"
    ),
}
WIDTH, HEIGHT, GAP, CAPTION = 1000, 188, 8, 26  # pixels: a row, the tallest card, a gap, a caption
MIN_CARD = 100  # pixels; anything lower is the legend
QUALITY = 82


def cards(sheet: Image.Image) -> list[Image.Image]:
    """Return the cards of a sheet, which white gaps separate, row by row."""
    white = (np.asarray(sheet) == 255).all(axis=2)  # (H, W)
    rows = [(top, end) for top, end in spans(~white.all(axis=1)) if end - top >= MIN_CARD]
    columns = spans(~white[rows[0][0] : rows[-1][1]].all(axis=0))
    return [sheet.crop((left, top, right, bottom)) for top, bottom in rows for left, right in columns]


def spans(filled: np.ndarray) -> list[tuple[int, int]]:
    """Return the start and end of each run of True in a boolean (N,); gaps of fewer than GAP pixels belong to a run."""
    edges = np.flatnonzero(np.diff(filled, prepend=False, append=False))
    wide = edges[2::2] - edges[1:-1:2] >= GAP
    begins, ends = edges[::2][np.append(True, wide)], edges[1::2][np.append(wide, True)]
    return list(zip(begins.tolist(), ends.tolist(), strict=True))


def row(all_cards: list[Image.Image]) -> Image.Image:
    """Return a row of cards of the same height, as many as fit, chosen evenly."""
    scale = min(HEIGHT / all_cards[0].height, (WIDTH - GAP) / 2 / all_cards[0].width)
    width, height = (round(side * scale) for side in all_cards[0].size)
    count = (WIDTH + GAP) // (width + GAP)
    image = Image.new("RGB", (WIDTH, height), "white")
    for position in range(count):
        card = all_cards[position * len(all_cards) // count]
        image.paste(card.resize((width, height)), (position * (width + GAP), 0))
    return image


def captioned(image: Image.Image, caption: str) -> Image.Image:
    """Return an image with its caption above it and a margin on both sides."""
    whole = Image.new("RGB", (image.width + 2 * GAP, image.height + CAPTION), "white")
    ImageDraw.Draw(whole).text((GAP, 4), caption, "black", ImageFont.load_default(15))
    whole.paste(image, (GAP, CAPTION))
    return whole


def main() -> int:
    """Write the five pictures. Returns 2 if a demo has not run."""
    sheets = {name: ROOT / ".demo" / name / "predictions.png" for name in CAPTIONS}
    for name, path in sheets.items():
        if not path.exists():
            print(f"{path} does not exist: run `make demo/{name}` first", file=sys.stderr)
            return 2
    rows = {
        name: captioned(row(cards(Image.open(path).convert("RGB"))), CAPTIONS[name]) for name, path in sheets.items()
    }
    demos = Image.new("RGB", (WIDTH + 2 * GAP, sum(each.height + GAP for each in rows.values())), "white")
    top = 0
    for name, image in rows.items():
        image.save(HERE / f"{name}.jpg", quality=QUALITY)
        demos.paste(image, (0, top))
        top += image.height + GAP
    demos.save(HERE / "demos.jpg", quality=QUALITY)
    return 0


if __name__ == "__main__":
    sys.exit(main())
