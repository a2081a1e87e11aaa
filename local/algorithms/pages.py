"""Pages of photos: cards of one size in rows, and a photo whole on a card."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from local.files import replacing
from serve import preprocess

Answer = TypeVar("Answer")

GREY = (236, 236, 236)
INK = (20, 20, 20)
_GAP = 8


def evenly(answers: Sequence[Answer], most: int) -> list[Answer]:
    """All answers, or `most` of them at equal distances."""
    wanted = min(len(answers), most)
    return [answers[index * len(answers) // wanted] for index in range(wanted)]


def write(cards: Sequence[Image.Image], columns: int, path: Path, head: Image.Image | None = None) -> None:
    """Write a PNG with the cards, all of one size, in rows of `columns`, below `head` if there is one."""
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
    """The width in pixels of a row of `columns` cards, each `card` wide."""
    return columns * (card + _GAP) - _GAP


def whole(photo: bytes, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """An image file scaled to fit into a square of `side` pixels, and where its upper left corner is when centred."""
    image = preprocess.decode(photo, short_side=side)
    scale = side / max(image.size)
    image = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)))
    return image, ((side - image.width) // 2, (side - image.height) // 2)
