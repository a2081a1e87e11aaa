"""Mask folders in `prepare`: photos and masks with equal names, and the meaning of the pixels of masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from local import __main__ as program
from local.datasets import layouts
from local.datasets.dataset import UNUSABLE, DataSet
from local.datasets.layouts import mask_folders
from local.datasets.layouts.pets import reader as official
from local.datasets.masks import class_mapping
from local.datasets.masks import table as mask_table
from local.datasets.masks.data_set import BINARY, CLASS_VALUES, IGNORED
from local.datasets.masks.table import Table
from local.errors import UserError
from serve.tasks.masks import png
from tests.unit import few_pets
from tests.unit.layouts import notes, prepare, write_files
from tests.unit.official import encode, exif_rotated

SIZE = (64, 48)


def photo(shade: int) -> bytes:
    """Return a JPEG of one colour. Different shades give different photos."""
    return encode(Image.new("RGB", SIZE, (20 * shade, 100, 200)))


def numbers(*values: int) -> np.ndarray:
    """Return pixels with a column for each value. The last value fills the remaining columns."""
    pixels = np.full(SIZE[::-1], values[-1], np.uint8)
    pixels[:, : len(values)] = values
    return pixels


def grey(*values: int, form: str = "PNG") -> bytes:
    return encode(Image.fromarray(numbers(*values)), form)


def coloured(*colours: tuple[int, int, int], mode: str = "RGB") -> bytes:
    """Return a mask with a column of each colour."""
    table = np.array(colours, np.uint8)
    places = numbers(*range(len(colours)))
    if mode == "P":
        image = Image.fromarray(places)
        image.putpalette(table.tobytes())
        return encode(image, "PNG")
    return encode(Image.fromarray(table[places]).convert(mode), "PNG")


def masked(root: Path, *masks: bytes, form: str = "png", **tables: str) -> Path:
    """Write images/0.jpg, masks/0.png and so on. `tables` are files next to them, with `__` for the dot in names."""
    files: dict[str, Any] = {name.replace("__", "."): text for name, text in tables.items()}
    for number, mask in enumerate(masks):
        files |= {f"images/{number}.jpg": photo(number), f"masks/{number}.{form}": mask}
    return write_files(root, files)


def first_row(data: DataSet[Any], count: int) -> list[int]:
    """Return the first pixels of the first mask as `prepare` reads them."""
    return data.entries[0].target.read().pixels[0, :count].tolist()


# --- photos and their masks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photo_file", "mask_file", "part"),
    [
        ("images/a.jpg", "masks/a.png", ""),
        ("Images/ä b.JPG", "Labels/ä b.PNG", ""),
        ("images/a.jpg", "annotations/a.png", ""),
        ("img/a.jpg", "mask/a.png", ""),
        ("imgs/a.png", "gt/a.png", ""),
        ("images/a.jpg", "SegmentationClass/a.png", ""),
        ("images/sub/a.jpg", "masks/sub/a.png", ""),
        ("set/images/a.jpg", "set/masks/a.png", ""),
        ("train/images/a.jpg", "train/masks/a.png", "train"),
        ("images/train/a.jpg", "masks/train/a.png", "train"),
        ("images/training/a.jpg", "annotations/training/a.png", "train"),
        ("val/a.jpg", "val_labels/a_L.png", "validation"),
        ("valid/a.jpg", "valid/a_mask.png", "validation"),
        ("trainannot/a.png", "train/a.png", "train"),
        ("images/a.jpg", "masks/a_gt.png", ""),
        ("a.jpg", "a_seg.png", ""),
        ("a.jpg", "a_segmentation.png", ""),
        ("train/a_jpg.rf.1b.jpg", "train/a_jpg.rf.1b_mask.png", "train"),
        ("images/a_mask.jpg", "masks/a_mask.png", ""),
    ],
)
def test_photos_and_masks_are_recognised_by_their_folders_or_by_the_suffix_of_masks(
    photo_file: str, mask_file: str, part: str, tmp_path: Path
) -> None:
    if photo_file.startswith("trainannot"):
        photo_file, mask_file = mask_file, photo_file
    write_files(tmp_path, {photo_file: photo(1), mask_file: grey(0, 1)})
    assert str(layouts.detect(tmp_path)) == f"{tmp_path} is read as mask-folders: {photo_file} has the mask {mask_file}"
    (entry,) = mask_folders.segmentation(tmp_path).entries
    assert (entry.path, entry.target.source, entry.part) == (tmp_path / photo_file, mask_file, part)


@pytest.mark.parametrize(
    "names",
    [
        ["mask/1.jpg", "no_mask/1.jpg"],
        ["with/1.jpg", "with/1_mask.jpg", "without/1.jpg"],
        ["images/1.jpg", "labels/1.txt"],
        ["train/cat/1.jpg", "val/cat/1.jpg"],
        ["images/1.jpg", "masks/2.png"],
    ],
)
def test_other_folders_are_not_taken_for_masks(names: list[str], tmp_path: Path) -> None:
    write_files(tmp_path, dict.fromkeys(names, b""))
    assert mask_folders.recognise(tmp_path) is None


def test_the_pet_layout_is_not_taken_for_masks(drawn: Path) -> None:
    assert mask_folders.recognise(drawn) is None


def test_the_same_name_in_train_and_val_is_two_photos_with_their_own_masks(tmp_path: Path) -> None:
    files = {}
    for number, part in enumerate(("train", "val")):
        files |= {f"{part}/images/1.jpg": photo(number), f"{part}/masks/1.png": grey(number)}
    data = mask_folders.segmentation(write_files(tmp_path, files))
    assert [(entry.name, entry.part, entry.target.source) for entry in data.entries] == [
        ("1", "train", "train/masks/1.png"),
        ("1-2", "validation", "val/masks/1.png"),
    ]


def test_files_without_a_partner_and_unusable_files_are_left_out_and_listed(tmp_path: Path) -> None:
    data = masked(tmp_path, *[grey(0, 1)] * 4, grey(0, 1)[:60], coloured((1, 2, 3), (0, 0, 0)), grey(0, form="JPEG"))
    write_files(data, {"images/x.jpg": photo(9), "masks/y.png": grey(0), "masks/0_mask.png": grey(1)})
    write_files(data, {"test/images/t.jpg": photo(10), "test/masks/t.png": grey(0)})
    data_set = mask_folders.segmentation(data)
    assert [entry.name for entry in data_set.entries] == ["0", "1", "2", "3"]
    reasons = notes(data_set)
    truncated, jpeg, colours = reasons.pop(UNUSABLE)
    assert truncated.startswith("masks/4.png is truncated")
    assert jpeg.startswith("masks/6.png is a JPEG, which blurs class numbers: export the masks as PNG")
    assert colours.startswith("masks/5.png is a colour picture, unlike the other masks")
    assert reasons == {
        "photos of a test part, left out": ["test/images/t.jpg"],
        "masks without a photo, left out": ["masks/y.png"],
        "masks whose photo has another mask, left out": ["masks/0_mask.png"],
        "photos that have no mask, left out": ["images/x.jpg"],
        CLASS_VALUES: ["0", "1"],
    }


# --- meaning of the pixels --------------------------------------------------------------------------------------------


def test_numbers_with_gaps_become_labels_in_order_and_255_has_no_class(tmp_path: Path) -> None:
    data = masked(tmp_path / "data", grey(7, 26, 0), grey(0, 255), grey(7, 0), grey(26))
    data_set = mask_folders.segmentation(data)
    assert (data_set.class_names, data_set.pixels) == (("0", "7", "26"), (0, 7, 26))
    assert notes(data_set) == {IGNORED: ["masks/1.png"], CLASS_VALUES: ["0", "7", "26"]}
    truths = prepare("semantic-segmentation", data, tmp_path / "out").truths
    assert truths[photo(0)].mask[0, :3].tolist() == [1, 2, 0]
    assert truths[photo(1)].mask[0, :2].tolist() == [0, 255]


def test_masks_of_only_0_and_255_have_a_background_and_an_object(tmp_path: Path) -> None:
    data = masked(tmp_path / "data", grey(0, 255), grey(0), grey(255), grey(0, 255))
    data_set = mask_folders.segmentation(data)
    assert (data_set.class_names, data_set.pixels) == (("background", "object"), (0, 255))
    assert notes(data_set)[BINARY] == ["masks/0.png", "masks/2.png", "masks/3.png"]
    truths = prepare("semantic-segmentation", data, tmp_path / "out").truths
    assert truths[photo(0)].mask[0, :2].tolist() == [0, 1]
    assert (tmp_path / "out" / "label_map" / "train_label_map.json").read_text() == '{"map": {"0": 0, "1": 255}}\n'


@pytest.mark.parametrize("form", ["GIF", "BMP", "TIFF", "PNG"])
def test_every_lossless_format_is_read(form: str, tmp_path: Path) -> None:
    data_set = mask_folders.segmentation(masked(tmp_path, grey(0, 255, 0, form=form), form=form.lower()))
    assert data_set.pixels == (0, 255)
    assert first_row(data_set, 3) == [0, 255, 0]


def test_one_bit_masks_have_the_classes_0_and_1(tmp_path: Path) -> None:
    mask = encode(Image.fromarray(numbers(0, 255)).convert("1"), "PNG")
    data_set = mask_folders.segmentation(masked(tmp_path, mask))
    assert (data_set.class_names, first_row(data_set, 2)) == (("0", "1"), [0, 1])


def test_a_grey_mask_saved_as_rgb_is_read_as_numbers(tmp_path: Path) -> None:
    data_set = mask_folders.segmentation(masked(tmp_path, coloured((0, 0, 0), (2, 2, 2)), grey(1)))
    assert (data_set.class_names, first_row(data_set, 2)) == (("0", "1", "2"), [0, 2])


@pytest.mark.parametrize(
    ("mask", "table", "names", "pixels"),
    [
        (grey(0, 2), "sky\nroad\ncar\n", ("sky", "road", "car"), ()),
        (grey(0, 7, 26), "sky\nroad\ncar\n", ("sky", "road", "car"), (0, 7, 26)),
        (grey(0, 255), "wall\ncrack\n", ("wall", "crack"), (0, 255)),
        (grey(0, 255), "crack\n", ("background", "crack"), (0, 255)),
        (grey(1, 2), "__ignore__\n_background_\nMein  Hund\ncat\n", ("_background_", "Mein Hund", "cat"), ()),
        (grey(0, 1), "Pixel Value, Class\n0, background\n1, Brücke\n", ("background", "Brücke"), ()),
        (grey(3, 9), "3: road\n9: car\n", ("road", "car"), (3, 9)),
        (png(numbers(0, 1)), "name,r,g,b\nsky,1,1,1\nroad,2,2,2\n", ("sky", "road"), ()),
    ],
)
def test_class_names_come_from_the_table_by_number_or_in_order(
    mask: bytes, table: str, names: tuple[str, ...], pixels: tuple[int, ...], tmp_path: Path
) -> None:
    data_set = mask_folders.segmentation(masked(tmp_path, mask, classes__txt=table))
    assert (data_set.class_names, data_set.pixels) == (names, pixels)


SKY, ROAD, VOID = (128, 128, 128), (128, 64, 128), (1, 2, 3)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("class_dict.csv", "name,r,g,b\nsky,128,128,128\nroad, 128, 64, 128\nignore,1,2,3\n"),
        ("class_dict.csv", 'sky,128,128,128\r\n"road",128,64,128\r\nIgnored,1,2,3\r\n'),
        ("label_colors.txt", "128 128 128\tsky\n128 64 128\troad\n1 2 3\tignore\n"),
        ("masks/colormap.txt", "sky 128 128 128\nroad 128 64 128\nignore 1 2 3\n"),
        ("labelmap.txt", "\ufeff# label:color\nsky:128,128,128::\nroad:128,64,128:a,b:c\nignore:1,2,3::\n"),
        ("codes.txt", "sky;128;128;128\nroad;128;64;128\nignore;1;2;3\n"),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_table_maps_colours_to_labels_in_the_order_of_its_lines(
    file: str, text: str, mode: str, tmp_path: Path
) -> None:
    data = write_files(masked(tmp_path, coloured(ROAD, SKY, VOID, mode=mode)), {file: text})
    data_set = mask_folders.segmentation(data)
    assert (data_set.class_names, data_set.pixels) == (("sky", "road"), ())
    assert first_row(data_set, 3) == [1, 0, 255]
    assert notes(data_set) == {f"{CLASS_VALUES}, by {file}": ["128 128 128 sky", "128 64 128 road"]}


@pytest.mark.parametrize(
    ("masks", "tables", "message"),
    [
        (
            [coloured(ROAD, SKY)],
            {},
            r"masks/0.png is a colour picture, and .* has no file that names colours; the first masks have 128 64 128, "
            r"128 128 128: write class_dict.csv next to the folders, with a line like `road,128,64,128`",
        ),
        ([coloured(ROAD)], {"classes__txt": "road"}, "classes.txt has names without colours"),
        (
            [coloured(ROAD)],
            {"class_dict__csv": "sky,1,1,1\ncar,2,2,2"},
            "has the colour 128 64 128, which is not in class_dict.csv",
        ),
        ([grey(0, 9)], {"classes__txt": "sky\nroad\ncar"}, "has the number 9, which is not in classes.txt: expected"),
        (
            [grey(0, 255)],
            {"classes__txt": "a\nb\nc"},
            "classes.txt names 3 classes and the masks have only the numbers 0 and",
        ),
        ([grey(*range(64)), grey(70)], {}, "have 65 numbers, 0, 1, .* these look like shades"),
        ([grey(0, form="JPEG")], {}, r"is a JPEG.*mogrify.*\(1 mask of 1 below .* cannot be used\)"),
        (
            [coloured(ROAD, SKY, mode="P"), coloured(SKY, ROAD, mode="P")],
            {},
            "have different palettes: the number 0 is",
        ),
        ([], {}, "has no mask for any photo: name them like masks/a.png"),
    ],
)
def test_ambiguous_and_invalid_masks_are_rejected_with_the_fix(
    masks: list[bytes], tables: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        mask_folders.segmentation(masked(tmp_path, *masks, **tables))


def test_a_mask_with_too_many_colours_is_rejected(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 60, 3), np.uint8)
    with pytest.raises(UserError, match=r"masks/0.png has more than 4096 colours, and a mask has one for each class"):
        mask_folders.segmentation(masked(tmp_path, encode(Image.fromarray(noise), "PNG")))


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.txt is empty"),
        ("sky,1,2,3\nroad\n", "t.txt line 2 is 'road': write it like the other lines"),
        ("sky,1,2,256\nroad,1,2,3\n", "t.txt line 1 is 'sky,1,2,256': numbers and colours must be at most 255"),
        ("sky,1,2,3\nroad,1,2,3\n", r"t.txt has \(1, 2, 3\) in line 1 and in line 2: keep one of them"),
        ("sky\nroad\nsky\n", "t.txt has sky in line 1 and in line 3"),
        ("1,sky\n1,road\n", "t.txt has 1 in line 1 and in line 2"),
        (",1,2,3\nroad,1,2,3\n", "t.txt line 1: the name is empty"),
        ("a" * 400, "t.txt line 1 has 400 characters"),
    ],
)
def test_an_invalid_table_is_rejected_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        mask_table.parse(text, "t.txt")


@given(st.text())
def test_any_text_is_a_table_or_rejected_by_name(text: str) -> None:
    try:
        table = mask_table.parse(text, "t.txt")
    except UserError as error:
        assert str(error).startswith("t.txt ")  # noqa: PT017 - either outcome is right
    else:
        assert all(name == " ".join(name.split()) != "" for name in table.names)


NAMES = st.lists(
    st.from_regex(r"[A-Za-zäß]{1,5}( [A-Za-z]{1,3})?", fullmatch=True), min_size=2, max_size=6, unique=True
)


@given(NAMES.filter(lambda names: not {*map(str.lower, names)} & {"ignore", "ignored"}), st.data())
def test_written_tables_are_read_back(names: list[str], data: st.DataObject) -> None:
    part = st.integers(0, 255)
    colours = data.draw(
        st.lists(st.tuples(part, part, part), min_size=len(names), max_size=len(names), unique=True), "colours"
    )
    rows = list(zip(names, colours, strict=True))
    for line in ("{0},{1},{2},{3}", "{0}:{1},{2},{3}::", "{1} {2} {3}\t{0}"):
        text = "\n".join(line.format(name, *colour) for name, colour in rows)
        assert mask_table.parse(text, "t.txt") == Table("t.txt", tuple(names), tuple(colours))
    assert mask_table.parse("\n".join(names), "t.txt") == Table("t.txt", tuple(names))


def test_two_tables_with_the_same_name_must_agree(tmp_path: Path) -> None:
    tables = {"train/_classes.csv": "0,a\n1,b", "valid/_classes.csv": "0,a\n1,b"}
    write_files(tmp_path, tables)
    assert mask_table.find(tmp_path, list(tables)) == Table("train/_classes.csv", ("a", "b"), numbers=(0, 1))
    (tmp_path / "valid" / "_classes.csv").write_text("0,a\n1,c")
    with pytest.raises(UserError, match=r"train/_classes.csv and valid/_classes.csv differ: keep only the one"):
        mask_table.find(tmp_path, list(tables))


@given(st.binary(max_size=60))
def test_random_bytes_as_a_mask_are_rejected_by_name(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for start in (b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0"):
        file = tmp_path_factory.getbasetemp() / "any.png"
        file.write_bytes(start + data)
        with pytest.raises(UserError, match=r"^masks/a\.png "):
            class_mapping.inspect_mask(file, "masks/a.png")


# --- EXIF, the drawn pets and the real ones ---------------------------------------------------------------------------


def test_a_mask_of_the_stored_size_is_rotated_with_its_photo(tmp_path: Path) -> None:
    upright = Image.new("RGB", SIZE, (200, 0, 0))
    stored = np.zeros((64, 48), np.uint8)  # orientation 6 stores the upper left corner at the lower left
    stored[-10:, :10] = 1
    write_files(
        tmp_path / "data", {"a.jpg": exif_rotated(upright, 6), "a_mask.png": encode(Image.fromarray(stored), "PNG")}
    )
    write_files(tmp_path / "data", {"b.jpg": photo(1), "b_mask.png": grey(0, 1)})
    prepared = prepare("semantic-segmentation", tmp_path / "data", tmp_path / "out")
    (mask,) = (truth.mask for data, truth in prepared.truths.items() if data != photo(1))
    assert mask.shape == (48, 64)
    assert mask[:10, :10].all()
    assert mask.sum() == 100


def check_pets(data: Path, tmp_path: Path) -> None:
    """Assert that the masks of `data` have the same pixels as grey, palette and colour images."""
    expected = prepare("semantic-segmentation", data, tmp_path / "pets", "--classes", "pet", "--split", "random").truths
    colours = {1: (250, 0, 0), 2: (0, 250, 0), 3: (0, 0, 250)}
    palette = [0, 0, 0, *[part for colour in colours.values() for part in colour]]
    table = np.array([(0, 0, 0), *colours.values()], np.uint8)
    masks: dict[str, dict[str, bytes]] = {"grey": {}, "palette": {}, "colours": {}}
    masks["colours"]["class_dict.csv"] = b"name,r,g,b\npet,250,0,0\nbackground,0,250,0\nborder,0,0,250\n"
    for entry in official.segmentation(data).entries:
        name, pixels = entry.path.stem, entry.target.read().pixels
        image = Image.fromarray(pixels)
        image.putpalette(palette)
        images = {"grey": Image.fromarray(pixels), "palette": image, "colours": Image.fromarray(table[pixels])}
        for kind, mask in images.items():
            masks[kind] |= {f"Bilder/images/{name}.jpg": entry.path.read_bytes()}
            masks[kind] |= {f"Bilder/masks/{name}.png": encode(mask, "PNG")}
    for kind, files in masks.items():
        actual = prepare("semantic-segmentation", write_files(tmp_path / kind, files), tmp_path / f"{kind}-out").truths
        assert actual.keys() == expected.keys()
        for key, truth in expected.items():
            assert np.array_equal(actual[key].mask, truth.mask)


def test_the_drawn_pets_keep_their_masks_in_mask_folders(drawn: Path, tmp_path: Path) -> None:
    check_pets(drawn, tmp_path)


def test_the_real_pets_keep_their_masks_in_mask_folders(pets: Path, tmp_path: Path) -> None:
    check_pets(few_pets.copy(pets, tmp_path / "some", step=20), tmp_path)


def test_prepare_reports_the_layout_and_the_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = masked(tmp_path / "data", grey(0, 255), grey(0), grey(0, 255), grey(255, 0), grey(0, 255))
    arguments = ["prepare", "semantic-segmentation", "--data", str(data), "--out", str(tmp_path / "out")]
    assert program.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [*lines[:4], *lines[-2:]] == [
        f"{data} is read as mask-folders: images/0.jpg has the mask masks/0.png",
        "masks with only 0 and 255, where 255 is class 1: 4 (masks/0.png, masks/2.png, masks/3.png, masks/4.png)",
        "numbers or colours in masks that are classes: 2 (0 background, 255 object)",
        "4 training photos, 1 validation photo, 2 classes",
        f"Channels: {tmp_path / 'out'}",
        "Set num_classes=2 num_training_samples=4",
    ]
