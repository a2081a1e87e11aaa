"""The drawn data set has the official layout, and its annotations match its pixels."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from local.datasets.drawn import draw
from local.datasets.drawn.breeds import BREEDS
from local.datasets.drawn.canvas import BODY, HEAD, OVERSAMPLING, Canvas, Pen
from local.datasets.layouts.pets import lists as pets


def head_box(file: Path) -> tuple[str, list[int]]:
    pet = ElementTree.parse(file).getroot().find("object")
    assert pet is not None
    return pet.findtext("name", ""), [
        int(pet.findtext(f"bndbox/{tag}", "")) for tag in ("xmin", "ymin", "xmax", "ymax")
    ]


def test_a_drawn_data_set_has_the_official_layout(drawn: Path) -> None:
    lists = pets.read(drawn)
    names = pets.class_names(lists.trainval, "breed")
    assert list(names) == sorted((breed.name for breed in BREEDS), key=str.lower)
    assert (len(lists.trainval), len(lists.test)) == (6 * len(BREEDS), 2 * len(BREEDS))
    for pet in (*lists.trainval, *lists.test):
        assert pet.breed[0].isupper() == (pet.species == "cat")
        names = (f"images/{pet.name}.jpg", f"annotations/trimaps/{pet.name}.png")
        with Image.open(drawn / names[0]) as photo, Image.open(drawn / names[1]) as trimap:
            assert (photo.format, photo.mode) == ("JPEG", "RGB")
            assert (trimap.mode, trimap.size) == ("L", photo.size)
    boxed = {file.stem for file in (drawn / "annotations" / "xmls").iterdir()}
    assert boxed == {pet.name for pet in lists.trainval}


def test_trimaps_hold_pet_background_and_a_border_as_thick_as_the_real_ones(drawn: Path) -> None:
    shares = []
    for file in (drawn / "annotations" / "trimaps").iterdir():
        pixels = np.asarray(Image.open(file))
        assert set(np.unique(pixels)) == {draw.PET, draw.BACKGROUND, draw.BORDER}
        shares.append([(pixels == value).mean() for value in (draw.PET, draw.BORDER)])
    pet, border = np.mean(shares, axis=0)
    assert 0.22 < pet < 0.34
    assert 0.10 < border < 0.15


def test_head_boxes_are_on_the_pet_and_inside_the_photo(drawn: Path) -> None:
    species = {pet.name: pet.species for pet in pets.read(drawn).trainval}
    for file in (drawn / "annotations" / "xmls").iterdir():
        name, (xmin, ymin, xmax, ymax) = head_box(file)
        pixels = np.asarray(Image.open(drawn / "annotations" / "trimaps" / f"{file.stem}.png"))
        assert name == species[file.stem]
        assert 1 <= xmin < xmax <= pixels.shape[1]
        assert 1 <= ymin < ymax <= pixels.shape[0]
        assert (pixels[ymin - 1 : ymax, xmin - 1 : xmax] != draw.BACKGROUND).mean() > 0.4


def test_a_head_box_covers_exactly_the_visible_part_of_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    def compose(canvas: Canvas, *_: object) -> float:
        pen = Pen(canvas, 0, 0, 1)
        pen.on(BODY).polygon([(20, 60), (119, 60), (119, 139), (20, 139)], (9, 9, 9))
        pen.on(HEAD).polygon([(40, 30), (89, 30), (89, 79), (40, 79)], (200, 9, 9))
        pen.polygon([(40, 30), (49, 30), (49, 79), (40, 79)], (9, 200, 9))  # hides the left fifth of the head
        return 25

    monkeypatch.setattr(draw, "_compose", compose)
    drawn = draw.picture(BREEDS[0], np.random.default_rng(0))
    assert np.abs(np.subtract(drawn.head, (51, 31, 90, 80))).max() <= 1
    trimap = np.asarray(drawn.trimap)
    assert trimap[45, 44] != draw.PET
    assert trimap[50, 70] == draw.PET
    assert trimap[5, 5] == draw.BACKGROUND


def test_the_same_seed_draws_the_same_files_and_another_seed_draws_others(tmp_path: Path) -> None:
    for name, seed, workers in (("a", 3, 1), ("b", 3, 2), ("c", 4, 2)):
        draw.data_set(tmp_path / name, trainval=1, test=1, seed=seed, breeds=BREEDS[:2], workers=workers)
    files = {
        name: {
            str(file.relative_to(tmp_path / name)): file.read_bytes()
            for file in (tmp_path / name).rglob("*")
            if file.is_file()
        }
        for name in "abc"
    }
    assert files["a"] == files["b"]
    assert all(files["a"][name] != files["c"][name] for name in files["a"] if name.endswith(".jpg"))


def test_a_failed_drawing_keeps_the_old_data_set_and_leaves_no_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "pets"
    root.mkdir()
    (root / "mine").write_text("kept")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(draw, "_write_lists", fail)
    with pytest.raises(OSError, match="No space left"):
        draw.data_set(root, trainval=1, test=1, breeds=BREEDS[:1], workers=1)
    assert [file.name for file in tmp_path.iterdir()] == ["pets"]
    assert (root / "mine").read_text() == "kept"


def test_a_pen_in_a_mirrored_frame_draws_on_the_other_side() -> None:
    canvas = Canvas(100, 50)
    Pen(canvas, 50, 25, 10, mirrored=True, label=BODY).polygon([(2, -1), (4, -1), (4, 1), (2, 1)], (255, 0, 0))
    columns = np.nonzero(np.asarray(canvas.labels).any(axis=0))[0] / OVERSAMPLING
    assert columns.min() == pytest.approx(10, abs=0.6)
    assert columns.max() == pytest.approx(30, abs=0.6)


def test_colour_inside_a_shape_stays_inside_and_does_not_change_the_labels() -> None:
    canvas = Canvas(40, 40)
    with canvas.inside([(10, 10), (20, 10), (20, 20), (10, 20)]):
        canvas.fill([(0, 0), (40, 0), (40, 40), (0, 40)], (255, 0, 0), None)
    red = np.asarray(canvas.colour)[..., 0] == 255
    assert red.sum() == pytest.approx(100 * OVERSAMPLING**2, rel=0.12)
    assert not np.asarray(canvas.labels).any()
