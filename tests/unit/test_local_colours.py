"""Masks whose pixels are mapped to classes by a table of colours or numbers."""

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
    """Return a palette image. Numbers without a colour in `entries` are white."""
    image = Image.fromarray(pixels, "L")
    image.putpalette([part for number in range(256) for part in entries.get(number, WHITE)])
    return image


def coloured(mode: str = "RGB") -> Image.Image:
    by_label = {label: colour for colour, label in COLOURS.items()}
    return Image.fromarray(np.array([[by_label[label] for label in row] for row in LABELS], np.uint8)).convert(mode)


def transparent() -> Image.Image:
    image = coloured("RGBA")
    pixels = np.array(image)
    pixels[LABELS == 0] = 0
    return Image.fromarray(pixels)


def save(image: Image.Image, path: Path, form: str = "PNG") -> Path:
    data = io.BytesIO()
    image.save(data, form)
    path.write_bytes(data.getvalue())
    return path


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(coloured(), id="RGB"),
        pytest.param(coloured("RGBA"), id="opaque RGBA"),
        pytest.param(transparent(), id="transparent RGBA"),
        pytest.param(palette(KEYS, {0: WHITE, 3: GREEN, 7: ORANGE}), id="palette that agrees with the table"),
        pytest.param(palette(LABELS + 4, {4: WHITE, 5: GREEN, 6: ORANGE}), id="palette with other numbers"),
        pytest.param(palette(KEYS, {1: GREEN, 2: ORANGE}), id="palette without gaps, numbers with gaps"),
        pytest.param(Image.fromarray(KEYS, "L"), id="greyscale numbers"),
    ],
)
def test_classes_are_decided_by_colours_or_otherwise_by_numbers(image: Image.Image, tmp_path: Path) -> None:
    assert np.array_equal(colours.read(save(image, tmp_path / "a.png"), "a.png", COLOURS, NUMBERS).pixels, LABELS)


def test_grey_0_and_255_may_be_colours(tmp_path: Path) -> None:
    path = save(Image.fromarray(LABELS * np.uint8(127) // 254 * 255, "L"), tmp_path / "a.png")
    assert np.array_equal(colours.read(path, "a.png", {(0, 0, 0): 1, WHITE: 0}, {0: 1, 1: 0}).pixels, LABELS < 2)


def test_the_number_255_is_ignored(tmp_path: Path) -> None:
    pixels = np.where(LABELS == 2, 255, KEYS).astype(np.uint8)
    path = save(Image.fromarray(pixels, "L"), tmp_path / "a.png")
    assert np.array_equal(colours.read(path, "a.png", {}, NUMBERS).pixels, np.where(LABELS == 2, 255, LABELS))


def test_a_file_whose_numbers_are_the_labels_is_kept_unchanged(tmp_path: Path) -> None:
    path = save(palette(LABELS, {0: WHITE, 1: GREEN, 2: ORANGE}), tmp_path / "a.png")
    painted = colours.read(path, "a.png", COLOURS, {0: 0, 1: 1, 2: 2})
    assert (painted.png, painted.repaired) == (path.read_bytes(), False)
    painted = colours.read(save(coloured(), tmp_path / "b.png"), "b.png", COLOURS, {})
    assert (painted.png, painted.repaired) == (None, False)


@pytest.mark.parametrize(
    ("image", "form", "message"),
    [
        (coloured(), "PNG", r"the colour #f28333 in column 2 of row 0, which has no class"),
        (Image.fromarray(KEYS, "L"), "PNG", r"the number 7 with the colour #070707 in column 2 of row 0"),
        (Image.new("RGB", (9, 9), "navy"), "JPEG", r"the colour #0[01]00[78]. in column 0 of row 0"),
    ],
)
def test_a_pixel_without_a_class_is_reported_with_its_position(
    image: Image.Image, form: str, message: str, tmp_path: Path
) -> None:
    path = save(image, tmp_path / "a.png", form)
    with pytest.raises(UserError, match=rf"^masks/a\.png has {message}"):
        colours.read(path, "masks/a.png", {WHITE: 0, GREEN: 1}, {0: 0, 3: 1})


@pytest.mark.parametrize(("data", "message"), [(b"", "is empty"), (b"x", "is not an image"), (None, "cannot be read")])
def test_a_file_that_is_not_an_image_is_rejected_by_name(data: bytes | None, message: str, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UserError, match=rf"^masks/a\.png {message}"):
        colours.read(tmp_path / "a.png", "masks/a.png", COLOURS, NUMBERS)
