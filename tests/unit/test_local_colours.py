"""Masks that are read by a table of colours and numbers."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from local.datasets.masks import colours
from local.datasets.masks.mask import Colour
from local.errors import UserError

WHITE, GREEN, ORANGE = (255, 255, 255), (0x2A, 0xCF, 0x59), (0xF2, 0x83, 0x33)
COLOURS = {WHITE: 0, GREEN: 1, ORANGE: 2}
NUMBERS = {0: 0, 3: 1, 7: 2}
LABELS = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
KEYS = np.array([[0, 3, 7], [7, 3, 0]], np.uint8)


def palette(pixels: np.ndarray, entries: dict[int, Colour]) -> Image.Image:
    """A palette picture; white where `entries` have no colour for a number."""
    image = Image.fromarray(pixels, "L")
    image.putpalette([part for number in range(256) for part in entries.get(number, WHITE)])
    return image


def coloured(mode: str = "RGB") -> Image.Image:
    of = {label: colour for colour, label in COLOURS.items()}
    return Image.fromarray(np.array([[of[label] for label in row] for row in LABELS], np.uint8)).convert(mode)


def transparent() -> Image.Image:
    image = coloured("RGBA")
    pixels = np.array(image)
    pixels[LABELS == 0] = 0
    return Image.fromarray(pixels)


def saved(image: Image.Image, path: Path, form: str = "PNG") -> Path:
    data = io.BytesIO()
    image.save(data, form)
    path.write_bytes(data.getvalue())
    return path


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(coloured(), id="colours"),
        pytest.param(coloured("RGBA"), id="colours, opaque"),
        pytest.param(transparent(), id="transparent where it is white"),
        pytest.param(palette(KEYS, {0: WHITE, 3: GREEN, 7: ORANGE}), id="a palette that agrees"),
        pytest.param(palette(LABELS + 4, {4: WHITE, 5: GREEN, 6: ORANGE}), id="a palette with other numbers"),
        pytest.param(palette(KEYS, {1: GREEN, 2: ORANGE}), id="a palette without gaps, numbers with them"),
        pytest.param(Image.fromarray(KEYS, "L"), id="grey numbers"),
    ],
)
def test_colours_count_or_else_numbers(image: Image.Image, tmp_path: Path) -> None:
    assert np.array_equal(colours.read(saved(image, tmp_path / "a.png"), "a.png", COLOURS, NUMBERS).pixels, LABELS)


def test_grey_of_0_and_255_is_two_colours(tmp_path: Path) -> None:
    path = saved(Image.fromarray(LABELS * np.uint8(127) // 254 * 255, "L"), tmp_path / "a.png")
    assert np.array_equal(colours.read(path, "a.png", {(0, 0, 0): 1, WHITE: 0}, {0: 1, 1: 0}).pixels, LABELS < 2)


def test_255_among_numbers_is_ignored(tmp_path: Path) -> None:
    pixels = np.where(LABELS == 2, 255, KEYS).astype(np.uint8)
    path = saved(Image.fromarray(pixels, "L"), tmp_path / "a.png")
    assert np.array_equal(colours.read(path, "a.png", {}, NUMBERS).pixels, np.where(LABELS == 2, 255, LABELS))


def test_a_file_whose_numbers_are_the_labels_stays_as_it_is(tmp_path: Path) -> None:
    path = saved(palette(LABELS, {0: WHITE, 1: GREEN, 2: ORANGE}), tmp_path / "a.png")
    painted = colours.read(path, "a.png", COLOURS, {0: 0, 1: 1, 2: 2})
    assert (painted.png, painted.repaired) == (path.read_bytes(), False)
    painted = colours.read(saved(coloured(), tmp_path / "b.png"), "b.png", COLOURS, {})
    assert (painted.png, painted.repaired) == (None, False)


@pytest.mark.parametrize(
    ("image", "form", "says"),
    [
        (coloured(), "PNG", r"the colour #f28333 in column 2 of row 0, which no class has"),
        (Image.fromarray(KEYS, "L"), "PNG", r"the number 7 with the colour #070707 in column 2 of row 0"),
        (Image.new("RGB", (9, 9), "navy"), "JPEG", r"the colour #0[01]00[78]. in column 0 of row 0"),
    ],
)
def test_a_pixel_without_a_class_is_named_with_its_place(
    image: Image.Image, form: str, says: str, tmp_path: Path
) -> None:
    path = saved(image, tmp_path / "a.png", form)
    with pytest.raises(UserError, match=rf"^masks/a\.png has {says}"):
        colours.read(path, "masks/a.png", {WHITE: 0, GREEN: 1}, {0: 0, 3: 1})


@pytest.mark.parametrize(("data", "says"), [(b"", "is empty"), (b"x", "is not an image"), (None, "cannot be read")])
def test_a_file_that_is_not_a_picture_is_refused_by_name(data: bytes | None, says: str, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UserError, match=rf"^masks/a\.png {says}"):
        colours.read(tmp_path / "a.png", "masks/a.png", COLOURS, NUMBERS)
