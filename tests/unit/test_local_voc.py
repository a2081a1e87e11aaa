"""PASCAL VOC in `prepare`: matching of XML files and photos, ImageSets, classes, boxes and masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from local import __main__ as program
from local.datasets import layouts
from local.datasets.dataset import UNKNOWN, UNUSABLE, DataSet
from local.datasets.layouts.pets import reader as official
from local.datasets.layouts.voc import annotation as voc_xml
from local.datasets.layouts.voc import image_sets as voc_sets
from local.datasets.layouts.voc import reader as voc
from local.datasets.masks.data_set import CLASS_VALUES, IGNORED
from local.datasets.notes import MISSING, UNLABELLED, UNLISTED
from local.errors import UserError
from tests.photos import quarters, solid
from tests.unit.layouts import Prepared, notes, prepare, write_files
from tests.unit.official import as_stored, encode, exif_rotated

SIZE = (64, 48)
CAT = ("cat", 11, 6, 30, 20)


def photo(shade: int) -> bytes:
    """Return a JPEG of one colour. Different shades give different photos."""
    return encode(Image.new("RGB", SIZE, (20 * shade, 100, 200)))


def xml(*objects: tuple[str, int, int, int, int], filename: str = "", size: tuple[int, int] | None = SIZE) -> bytes:
    """Return an annotation with these objects: a class, and a box that counts pixels as VOC does."""
    elements = "".join(
        f"<object><name>{name}</name><difficult>1</difficult><bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin>"
        f"<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox><part><name>head</name></part></object>"
        for name, xmin, ymin, xmax, ymax in objects
    )
    sides = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation><filename>{filename}</filename>{sides}{elements}</annotation>".encode()


def indexed(*numbers: int, palette: Sequence[int] | None = None, size: tuple[int, int] = SIZE) -> bytes:
    """Return a palette PNG with a column for each number. The last one fills the rest. The default palette is VOC's."""
    pixels = np.full(size[::-1], numbers[-1], np.uint8)
    pixels[:, : len(numbers)] = numbers
    image = Image.fromarray(pixels).convert("P")
    colours = [*voc._table().colours, *[(0, 0, 0)] * 234, (224, 224, 192)]
    image.putpalette(palette or [value for colour in colours for value in colour])
    return encode(image, "PNG")


def parts_by_path(data: DataSet[Any]) -> dict[str, str]:
    """Return the part of each photo by its path in the data set."""
    return {entry.path.relative_to(data.root).as_posix(): entry.part for entry in data.entries}


# --- which folders are read as VOC ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "how"),
    [
        (["JPEGImages/a.jpg", "Annotations/a.xml"], "Annotations/a.xml is an <annotation>"),
        (
            ["VOCdevkit/VOC2012/JPEGImages/a.jpg", "VOCdevkit/VOC2012/Annotations/a.xml"],
            "VOCdevkit/VOC2012/Annotations/",
        ),
        (["images/a.jpg", "annotations/a.xml"], "annotations/a.xml is an <annotation>"),
        (["images/a.jpg", "images/a.xml"], "images/a.xml is an <annotation>"),
        (["train/a.jpg", "train/a.xml", "valid/b.jpg", "valid/b.xml"], "train/a.xml is an <annotation>"),
        (["JPEGImages/a.jpg", "SegmentationClass/a.png"], "it has JPEGImages/ and SegmentationClass/"),
        (["JPEGImages/a.jpg", "ImageSets/Main/cat_train.txt"], "it has JPEGImages/ and ImageSets/"),
    ],
)
def test_a_folder_with_voc_files_is_recognised(files: list[str], how: str, tmp_path: Path) -> None:
    for file in files:
        write_files(tmp_path, {file: xml() if file.endswith("xml") else b""})
    assert str(layouts.detect(tmp_path)).startswith(f"{tmp_path} is read as voc: {how}")


def test_the_pet_layout_is_not_taken_for_voc_although_it_has_voc_xml(drawn: Path) -> None:
    assert voc.recognise(drawn) is not None
    assert layouts.detect(drawn).name == "pets"


def test_other_xml_files_are_not_taken_for_voc(tmp_path: Path) -> None:
    write_files(tmp_path, {"cat/a.jpg": b"", "annotations.xml": b"<annotations></annotations>"})
    assert voc.recognise(tmp_path) is None


# --- photos and their XML files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photo_file", "xml_file", "filename"),
    [
        ("JPEGImages/a.jpg", "Annotations/a.xml", "a.jpg"),
        ("Mein Öl/Bild 1.JPG", "Mein Öl/Bild 1.xml", "Bild 1.png"),
        ("JPEGImages/sub/a.jpg", "Annotations/sub/a.xml", "sub/a.jpg"),
        ("photos/a.jpeg", "boxes of cats/a.xml", "other.jpg"),
        ("photos/renamed.jpg", "xml/1.xml", r"C:\photos\renamed.bmp"),
        ("train/a_jpg.rf.12.jpg", "train/a_jpg.rf.12.xml", "a_jpg.rf.12.jpg"),
        ("a\u0308.jpg", "\u00e4.xml", ""),
    ],
)
def test_an_xml_file_belongs_to_the_photo_with_its_name_or_with_its_filename_element(
    photo_file: str, xml_file: str, filename: str, tmp_path: Path
) -> None:
    write_files(tmp_path, {photo_file: photo(1), xml_file: xml(CAT, filename=filename), "z/other photo.jpg": photo(2)})
    (entry,) = voc.detection(tmp_path).entries
    assert entry.path == tmp_path / photo_file
    assert entry.target == voc_xml.parse(xml(CAT), xml_file)


def test_the_same_name_in_two_folders_is_two_photos_with_their_own_xml_files(tmp_path: Path) -> None:
    files = {}
    for shade, part in enumerate(("train", "valid")):
        files |= {f"{part}/images/1.jpg": photo(shade), f"{part}/labels/1.xml": xml((part, 1, 1, 9, 9))}
    data = voc.detection(write_files(tmp_path, files))
    assert [(entry.name, entry.part, entry.target.objects[0].name) for entry in data.entries] == [
        ("1", "train", "train"),
        ("1-2", "validation", "valid"),
    ]


def test_files_without_a_partner_and_unusable_files_are_left_out_and_listed(tmp_path: Path) -> None:
    files = {f"{name}.jpg": photo(shade) for shade, name in enumerate("abcde")}
    files |= {f"{name}.xml": xml(CAT) for name in "abcz"}
    files |= {"d.xml": b"<annotation>", "other/b.xml": xml(CAT), "test/t.jpg": photo(9), "test/t.xml": xml(CAT)}
    data = voc.detection(write_files(tmp_path, files))
    assert sorted(parts_by_path(data)) == ["a.jpg", "b.jpg", "c.jpg"]
    reasons = notes(data)
    assert reasons.pop(UNUSABLE)[0].startswith("d.xml is not valid XML")
    assert reasons == {
        "photos of a test part, left out": ["test/t.jpg"],
        "XML files without a photo, left out": ["other/b.xml", "z.xml"],
        "photos that have no XML file, left out": ["e.jpg"],
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a.jpg": photo(1)}, "has no XML file for any photo: PASCAL VOC has Annotations/a.xml"),
        ({"a.jpg": photo(1), "a.xml": xml()}, "has no box in its XML files"),
        (
            {"a.jpg": photo(1), "a.xml": b"<x/>", "b.jpg": photo(2)},
            r"a.xml starts with <x>.*\(1 XML file of 1 .* cannot",
        ),
    ],
)
def test_a_folder_without_usable_annotations_is_rejected(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        voc.detection(write_files(tmp_path, files))


def test_boxes_without_an_image_size_refer_to_the_stored_photo(tmp_path: Path) -> None:
    upright = quarters(*SIZE)  # orientation 6 stores the red upper left quarter at the lower left
    stored = as_stored(upright, 6)
    assert stored.getpixel((5, 60)) == (255, 0, 0)
    files = {"a.jpg": exif_rotated(upright, 6), "a.xml": xml(("red", 1, 33, 24, 64), size=(0, 0))}
    files |= {"b.jpg": photo(1), "b.xml": xml(("red", 1, 1, 9, 9), size=None)}
    assert {entry.target.size for entry in voc.detection(write_files(tmp_path / "data", files)).entries} == {UNKNOWN}
    assert sorted(
        truth.boxes for truth in prepare("object-detection", tmp_path / "data", tmp_path / "out").truths.values()
    ) == [((0, 0, 0, 9, 9),), ((0, 0, 0, 32, 24),)]


# --- ImageSets --------------------------------------------------------------------------------------------------------


def lists(root: Path, folder: str = "Main", **sets: str) -> Path:
    return write_files(root, {f"ImageSets/{folder}/{name}.txt": text for name, text in sets.items()})


def boxed(root: Path, names: str = "abcd") -> Path:
    for shade, name in enumerate(names):
        write_files(root, {f"JPEGImages/{name}.jpg": photo(shade), f"Annotations/{name}.xml": xml(CAT)})
    return root


@pytest.mark.parametrize(
    ("sets", "parts"),
    [
        ({"train": "a\nb\n", "val": "c\r\nd\r\n"}, {"a": "train", "b": "train", "c": "validation", "d": "validation"}),
        ({"train": "a", "val": "b", "trainval": "a\nb", "test": "c"}, {"a": "train", "b": "validation", "d": ""}),
        ({"trainval": "a\nb", "test": "c"}, {"a": "train", "b": "train", "c": "validation", "d": ""}),
        ({"trainval": "a\nb", "val": "b"}, {"a": "train", "b": "validation", "c": "", "d": ""}),
        ({"default": "a\nb"}, {"a": "", "b": "", "c": "", "d": ""}),
        (
            {"train": 'a.jpg\n"b"', "val": "c 1\nd -1"},
            {"a": "train", "b": "train", "c": "validation", "d": "validation"},
        ),
    ],
)
def test_image_sets_define_the_parts(sets: dict[str, str], parts: dict[str, str], tmp_path: Path) -> None:
    data = voc.detection(lists(boxed(tmp_path), **sets))
    assert {Path(path).stem: part for path, part in parts_by_path(data).items()} == parts


def test_a_photo_in_both_train_and_val_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ImageSets/Main has JPEGImages/b.jpg in two sets.*remove it from one"):
        voc.detection(lists(boxed(tmp_path), train="a\nb", val="b\nc"))


def test_image_sets_may_hold_names_with_spaces_and_missing_photos_are_listed(tmp_path: Path) -> None:
    write_files(tmp_path, {"JPEGImages/my cat 1.jpg": photo(9), "Annotations/my cat 1.xml": xml(CAT)})
    data = voc.detection(lists(boxed(tmp_path), train="my cat 1\nz", val="a"))
    assert parts_by_path(data)["JPEGImages/my cat 1.jpg"] == "train"
    assert notes(data)[MISSING] == ["z (ImageSets/Main/train.txt)"]


def test_the_image_sets_of_each_year_refer_to_the_photos_of_that_year(tmp_path: Path) -> None:
    for year, name in (("VOC2007", "1"), ("VOC2012", "1")):
        lists(boxed(tmp_path / "VOCdevkit" / year, name), **{"train" if year == "VOC2007" else "val": name})
    assert parts_by_path(voc.detection(tmp_path)) == {
        "VOCdevkit/VOC2007/JPEGImages/1.jpg": "train",
        "VOCdevkit/VOC2012/JPEGImages/1.jpg": "validation",
    }


# --- classes ----------------------------------------------------------------------------------------------------------


def test_class_lists_make_a_data_set_multi_label_and_difficult_objects_count_as_absent(tmp_path: Path) -> None:
    sets = {"cat_train": "a  1\nb -1\n", "dog_train": "a  1\nb  0\n", "cat_val": "c 1", "dog_val": "c -1"}
    data = voc.classification(lists(boxed(tmp_path), **sets))
    assert data.multi_label
    assert data.class_names == ("cat", "dog")
    assert {entry.name: (entry.target, entry.part) for entry in data.entries} == {
        "a": (("cat", "dog"), "train"),
        "b": ((), "train"),
        "c": (("cat",), "validation"),
    }
    assert notes(data) == {voc_sets.DIFFICULT: ["JPEGImages/b.jpg dog"], UNLISTED: ["JPEGImages/d.jpg"]}


def test_without_class_lists_the_class_of_a_photo_comes_from_its_boxes(tmp_path: Path) -> None:
    files = {f"{name}.jpg": photo(shade) for shade, name in enumerate("abc")}
    files |= {"a.xml": xml(CAT, CAT), "b.xml": xml(("Mein  Hund", 1, 1, 9, 9)), "c.xml": xml()}
    data = voc.classification(write_files(tmp_path, files))
    assert not data.multi_label
    assert {entry.name: entry.target for entry in data.entries} == {"a": ("cat",), "b": ("Mein Hund",)}
    assert notes(data) == {UNLABELLED: ["c.jpg"]}


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"cat_train": "a 1\nb"}, r"ImageSets/Main/cat_train.txt has the line 'b': expected a photo and 1, -1 or 0"),
        ({"cat_train": "a 2"}, r"ImageSets/Main/cat_train.txt has the line 'a 2'"),
        ({"cat_train": "a 1"}, r"has 1 class \(cat\), and a classifier needs at least two"),
        ({"cat_train": "a 1", "dog_val": "a 1"}, r"ImageSets/Main has JPEGImages/a.jpg in two sets"),
    ],
)
def test_an_invalid_class_list_is_rejected(sets: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        voc.classification(lists(boxed(tmp_path), **sets))


# --- masks ------------------------------------------------------------------------------------------------------------


def masked(root: Path, **masks: bytes) -> Path:
    for shade, (name, mask) in enumerate(masks.items()):
        write_files(root, {f"JPEGImages/{name}.jpg": photo(shade), f"SegmentationClass/{name}.png": mask})
    return root


def test_masks_in_the_voc_palette_have_the_voc_classes_and_are_copied_unchanged(tmp_path: Path) -> None:
    data = lists(masked(tmp_path / "data", a=indexed(0, 8, 255), b=indexed(0, 12)), "Segmentation", train="a", val="b")
    write_files(data, {"SegmentationObject/a.png": indexed(1), "JPEGImages/c.jpg": photo(9)})
    data_set = voc.segmentation(data)
    assert (len(data_set.class_names), data_set.class_names[8], data_set.class_names[12]) == (21, "cat", "dog")
    assert parts_by_path(data_set) == {"JPEGImages/a.jpg": "train", "JPEGImages/b.jpg": "validation"}
    assert notes(data_set)[IGNORED] == ["SegmentationClass/a.png"]
    assert notes(data_set)["photos that have no mask, left out"] == ["JPEGImages/c.jpg"]
    prepare("semantic-segmentation", data, tmp_path / "out")
    assert (tmp_path / "out/train_annotation/a.png").read_bytes() == (data / "SegmentationClass/a.png").read_bytes()


def test_masks_in_another_palette_have_numbers_as_class_names(tmp_path: Path) -> None:
    data_set = voc.segmentation(masked(tmp_path, a=indexed(0, 1, 3, palette=[*range(256)] * 3)))
    assert (data_set.class_names, data_set.pixels) == (("0", "1", "3"), (0, 1, 3))


@pytest.mark.parametrize("as_palette", [False, True])
def test_a_labelmap_maps_colours_to_classes_in_the_order_of_its_lines(as_palette: bool, tmp_path: Path) -> None:
    labelmap = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nMein Hund:250,50,83:head,tail:run\ncat:1,2,3::\n"
    image = Image.new("RGB", SIZE)
    image.paste((1, 2, 3), (0, 0, 5, 5))
    image.paste((250, 50, 83), (5, 0, 9, 5))
    mask = encode(image.quantize(3) if as_palette else image, "PNG")
    data = write_files(masked(tmp_path, a=mask), {"labelmap.txt": labelmap})
    data_set = voc.segmentation(data)
    assert (data_set.class_names, data_set.pixels) == (("background", "Mein Hund", "cat"), ())
    pixels = data_set.entries[0].target.read().pixels
    assert [pixels[0, 0], pixels[0, 5], pixels[9, 9]] == [2, 1, 0]
    assert notes(data_set) == {
        f"{CLASS_VALUES}, by labelmap.txt": ["0 0 0 background", "250 50 83 Mein Hund", "1 2 3 cat"]
    }


def test_a_missing_folder_of_masks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no masks in SegmentationClass/: use `--layout mask-folders`"):
        voc.segmentation(boxed(tmp_path))


# --- arbitrary text, and annotations that are written and read back ---------------------------------------------------


@given(st.text(max_size=60))
def test_any_text_as_a_list_is_read_or_rejected(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = boxed(tmp_path_factory.mktemp("voc"), "ab")
    lists(root, train=text.encode(errors="replace").decode(), cat_train=text.encode(errors="replace").decode())
    for read in (voc.detection, voc.classification):
        try:
            assert set(parts_by_path(read(root)).values()) <= {"", "train"}
        except UserError as error:
            assert str(error)  # noqa: PT017 - either outcome is right


NAMES = st.text(st.characters(categories=["L", "N"], max_codepoint=0x2FFF), min_size=1, max_size=6)
EDGES = st.integers(1, 60)


@given(
    st.dictionaries(
        NAMES, st.lists(st.tuples(NAMES, EDGES, EDGES, EDGES, EDGES), min_size=1, max_size=3), min_size=1, max_size=3
    )
)
def test_written_annotations_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, photos: dict[str, list[tuple[str, int, int, int, int]]]
) -> None:
    root = tmp_path_factory.mktemp("voc")
    expected = {}
    for number, objects in enumerate(photos.values()):
        write_files(root, {f"JPEGImages/ö {number}.jpg": b"", f"Annotations/ö {number}.xml": xml(*objects)})
        expected[f"ö {number}"] = [
            (name, (left - 1, top - 1, right, bottom)) for name, left, top, right, bottom in objects
        ]
    boxes = {
        entry.name: [(labelled_box.name, labelled_box.box) for labelled_box in entry.target.objects]
        for entry in voc.detection(root).entries
    }
    assert boxes == expected


# --- the drawn pets and the real ones ---------------------------------------------------------------------------------


def copy_some(pets: Path, root: Path) -> Path:
    """Copy every eighth photo of the real pets in their layout, and give every third copy an EXIF orientation."""
    exif = Image.Exif()
    files: dict[str, bytes] = {}
    for part in ("trainval", "test"):
        lines = (pets / "annotations" / f"{part}.txt").read_text().splitlines(keepends=True)[::8]
        files[f"annotations/{part}.txt"] = "".join(lines).encode()
        for count, name in enumerate(line.split()[0] for line in lines):
            for file in (f"annotations/xmls/{name}.xml", f"annotations/trimaps/{name}.png", f"images/{name}.jpg"):
                if (pets / file).is_file():
                    files[file] = (pets / file).read_bytes()
            if count % 3 == 0:
                exif[0x0112] = count % 8 + 1
                with Image.open(pets / "images" / f"{name}.jpg") as image:
                    files[f"images/{name}.jpg"] = encode(image.convert("RGB"), exif=exif)
    return write_files(root, files)


def as_voc(data: Path, root: Path) -> Path:
    """Write the pets of `data` in VOC's layout, with spaces in their names: all masks, and any boxes."""
    names = {"train": [], "val": []}
    for number, entry in enumerate(official.classification(data).entries):
        stem = entry.path.stem
        name = f"Tier {number} für Max"
        if not entry.path.is_file():
            continue
        files = {f"VOC2012/JPEGImages/{name}.jpg": entry.path.read_bytes()}
        for kind, suffix, folder in (("xmls", "xml", "Annotations"), ("trimaps", "png", "SegmentationClass")):
            file = data / "annotations" / kind / f"{stem}.{suffix}"
            if file.is_file():
                files[f"VOC2012/{folder}/{name}.{suffix}"] = file.read_bytes()
        write_files(root, files)
        names["train" if number % 4 else "val"].append(name)
    return write_files(
        root, {f"VOC2012/ImageSets/Main/{part}.txt": "\n".join(photo_names) for part, photo_names in names.items()}
    )


def check_equal(name: str, data: Path, tmp_path: Path, *options: str) -> tuple[Prepared, Prepared]:
    """Run `prepare` on `data` as pets and as VOC, and assert that both have the same photos."""
    actual = prepare(name, as_voc(data, tmp_path / "voc"), tmp_path / "one")
    expected = prepare(name, data, tmp_path / "two", "--split", "random", *options)
    assert actual.truths.keys() == expected.truths.keys()
    return actual, expected


def check_pets(data: Path, tmp_path: Path) -> None:
    actual, expected = check_equal("object-detection", data, tmp_path / "boxes")
    assert actual.truths == expected.truths
    assert set(actual.channels.values()) == {"train", "validation"}
    actual, expected = check_equal("semantic-segmentation", data, tmp_path / "masks", "--classes", "pet")
    for key, truth in expected.truths.items():
        assert np.array_equal(actual.truths[key].mask, truth.mask)


def test_the_drawn_pets_keep_their_boxes_and_masks_in_voc(drawn: Path, tmp_path: Path) -> None:
    check_pets(drawn, tmp_path)


def test_the_real_pets_keep_their_boxes_and_masks_in_voc(pets: Path, tmp_path: Path) -> None:
    check_pets(copy_some(pets, tmp_path / "pets"), tmp_path)


def test_prepare_reports_the_layout_and_every_photo_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = lists(boxed(tmp_path / "data", "abcdef"), train="a\nb\nc\nd", val="e")
    write_files(data, {"JPEGImages/g.gif": solid(1, 2, 3)})
    assert program.main(["prepare", "object-detection", "--data", str(data), "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [*lines[:4], *lines[-2:]] == [
        f"{data} is read as voc: Annotations/a.xml is an <annotation>",
        "photos that have no XML file, left out: 1 (JPEGImages/g.gif)",
        "photos that are not in the split, not used: 1 (f.jpg)",
        "4 training photos, 1 validation photo, 1 class",
        f"Channels: {tmp_path / 'out'}",
        "Set num_classes=1 num_training_samples=4",
    ]
