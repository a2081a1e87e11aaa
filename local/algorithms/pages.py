"""Contact sheets: cards of equal size in rows, each with a photo that is scaled to fit."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from local.files import replacing
from serve import preprocess

Item = TypeVar("Item")

GREY = (236, 236, 236)
INK = (20, 20, 20)
_GAP = 8


def evenly(items: Sequence[Item], limit: int) -> list[Item]:
    """Return at most `limit` items, evenly spaced."""
    count = min(len(items), limit)
    return [items[index * len(items) // count] for index in range(count)]


def write(cards: Sequence[Image.Image], columns: int, path: Path, head: Image.Image | None = None) -> None:
    """Write a PNG with the cards, which all have the same size, in rows of `columns`, below `head` if it is given."""
    width, height = cards[0].size
    top = _GAP + (head.height + _GAP if head else 0)
    rows = -(-len(cards) // columns)
    page = Image.new("RGB", (columns * (width + _GAP) + _GAP, rows * (height + _GAP) + top), "white")
    if head:
        page.paste(head, (_GAP, _GAP))
    for index, card in enumerate(cards):
        row, column = divmod(index, columns)
        page.paste(card, (_GAP + column * (width + _GAP), top + row * (height + _GAP)))
    with replacing(path) as partial:
        page.save(partial, "PNG")


def width(columns: int, card: int) -> int:
    """Return the width in pixels of a row of `columns` cards that are `card` pixels wide."""
    return columns * (card + _GAP) - _GAP


def fit_in_square(photo: bytes, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """Scale an image file to fit into a square of `side` pixels; return it and its upper left corner when centred."""
    image = preprocess.decode(photo, short_side=side)
    scale = side / max(image.size)
    image = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)))
    return image, ((side - image.width) // 2, (side - image.height) // 2)
