"""PASCAL VOC in `prepare`: XML files and photos that belong together, ImageSets, classes, boxes and masks."""

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
    """A JPEG of one colour; two shades are two photos."""
    return encode(Image.new("RGB", SIZE, (20 * shade, 100, 200)))


def xml(*things: tuple[str, int, int, int, int], filename: str = "", size: tuple[int, int] | None = SIZE) -> bytes:
    """An annotation with these objects: a class, and a box as VOC counts it."""
    objects = "".join(
        f"<object><name>{name}</name><difficult>1</difficult><bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin>"
        f"<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox><part><name>head</name></part></object>"
        for name, xmin, ymin, xmax, ymax in things
    )
    sides = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation><filename>{filename}</filename>{sides}{objects}</annotation>".encode()


def indexed(*numbers: int, palette: Sequence[int] | None = None, size: tuple[int, int] = SIZE) -> bytes:
    """A PNG with a column of pixels for each of the numbers, the last one also in all columns behind; VOC's palette."""
    pixels = np.full(size[::-1], numbers[-1], np.uint8)
    pixels[:, : len(numbers)] = numbers
    image = Image.fromarray(pixels).convert("P")
    colours = [*voc._table().colours, *[(0, 0, 0)] * 234, (224, 224, 192)]
    image.putpalette(palette or [part for colour in colours for part in colour])
    return encode(image, "PNG")


def found(data: DataSet[Any]) -> dict[str, str]:
    """The part of each photo by its path in the data set."""
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
        (["JPEGImages/a.jpg", "SegmentationClass/a.png"], "it holds JPEGImages/ and SegmentationClass/"),
        (["JPEGImages/a.jpg", "ImageSets/Main/cat_train.txt"], "it holds JPEGImages/ and ImageSets/"),
    ],
)
def test_a_folder_with_vocs_files_is_recognised(files: list[str], how: str, tmp_path: Path) -> None:
    for file in files:
        write_files(tmp_path, {file: xml() if file.endswith("xml") else b""})
    assert str(layouts.detect(tmp_path)).startswith(f"{tmp_path} is read as voc: {how}")


def test_the_pets_own_layout_is_not_taken_for_voc_though_it_has_vocs_xml(drawn: Path) -> None:
    assert voc.recognise(drawn) is not None
    assert layouts.detect(drawn).name == "pets"


def test_xml_of_another_kind_is_not_voc(tmp_path: Path) -> None:
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
def test_an_xml_file_is_of_the_photo_of_its_own_name_or_else_of_the_one_that_it_names(
    photo_file: str, xml_file: str, filename: str, tmp_path: Path
) -> None:
    write_files(tmp_path, {photo_file: photo(1), xml_file: xml(CAT, filename=filename), "z/other photo.jpg": photo(2)})
    (entry,) = voc.detection(tmp_path).entries
    assert entry.path == tmp_path / photo_file
    assert entry.target == voc_xml.parse(xml(CAT), xml_file)


def test_one_name_in_two_folders_is_two_photos_each_with_the_xml_file_that_corresponds(tmp_path: Path) -> None:
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
    assert sorted(found(data)) == ["a.jpg", "b.jpg", "c.jpg"]
    said = notes(data)
    assert said.pop(UNUSABLE)[0].startswith("d.xml is not XML")
    assert said == {
        "photos of a test part, left out": ["test/t.jpg"],
        "XML files without a photo, left out": ["other/b.xml", "z.xml"],
        "photos without their XML file, left out": ["e.jpg"],
    }


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.jpg": photo(1)}, "has no XML file of any photo: PASCAL VOC has Annotations/a.xml"),
        ({"a.jpg": photo(1), "a.xml": xml()}, "has no box in its XML files"),
        (
            {"a.jpg": photo(1), "a.xml": b"<x/>", "b.jpg": photo(2)},
            r"a.xml begins with <x>.*\(1 XML file of 1 .* cannot",
        ),
    ],
)
def test_a_folder_without_anything_that_can_be_used_is_refused(
    files: dict[str, bytes], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says):
        voc.detection(write_files(tmp_path, files))


def test_boxes_without_a_size_are_of_the_photo_as_it_is_stored(tmp_path: Path) -> None:
    upright = quarters(*SIZE)  # red in the upper left quarter, which a photo turned by 6 stores in its lower left one
    stored = as_stored(upright, 6)
    assert stored.getpixel((5, 60)) == (255, 0, 0)
    files = {"a.jpg": exif_rotated(upright, 6), "a.xml": xml(("red", 1, 33, 24, 64), size=(0, 0))}
    files |= {"b.jpg": photo(1), "b.xml": xml(("red", 1, 1, 9, 9), size=None)}
    assert {entry.target.size for entry in voc.detection(write_files(tmp_path / "data", files)).entries} == {UNKNOWN}
    assert sorted(
        one.boxes for one in prepare("object-detection", tmp_path / "data", tmp_path / "out").truths.values()
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
def test_image_sets_say_the_parts(sets: dict[str, str], parts: dict[str, str], tmp_path: Path) -> None:
    data = voc.detection(lists(boxed(tmp_path), **sets))
    assert {Path(path).stem: part for path, part in found(data).items()} == parts


def test_a_photo_to_train_and_to_measure_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ImageSets/Main has JPEGImages/b.jpg in two sets.*remove it from one"):
        voc.detection(lists(boxed(tmp_path), train="a\nb", val="b\nc"))


def test_a_name_with_spaces_and_one_of_no_photo(tmp_path: Path) -> None:
    write_files(tmp_path, {"JPEGImages/my cat 1.jpg": photo(9), "Annotations/my cat 1.xml": xml(CAT)})
    data = voc.detection(lists(boxed(tmp_path), train="my cat 1\nz", val="a"))
    assert found(data)["JPEGImages/my cat 1.jpg"] == "train"
    assert notes(data)[MISSING] == ["z (ImageSets/Main/train.txt)"]


def test_the_lists_of_each_of_two_years_are_of_its_own_photos(tmp_path: Path) -> None:
    for year, name in (("VOC2007", "1"), ("VOC2012", "1")):
        lists(boxed(tmp_path / "VOCdevkit" / year, name), **{"train" if year == "VOC2007" else "val": name})
    assert found(voc.detection(tmp_path)) == {
        "VOCdevkit/VOC2007/JPEGImages/1.jpg": "train",
        "VOCdevkit/VOC2012/JPEGImages/1.jpg": "validation",
    }


# --- classes ----------------------------------------------------------------------------------------------------------


def test_lists_of_classes_make_a_data_set_multi_label_and_a_difficult_object_counts_as_absent(tmp_path: Path) -> None:
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


def test_without_lists_a_photos_classes_are_those_of_its_boxes(tmp_path: Path) -> None:
    files = {f"{name}.jpg": photo(shade) for shade, name in enumerate("abc")}
    files |= {"a.xml": xml(CAT, CAT), "b.xml": xml(("Mein  Hund", 1, 1, 9, 9)), "c.xml": xml()}
    data = voc.classification(write_files(tmp_path, files))
    assert not data.multi_label
    assert {entry.name: entry.target for entry in data.entries} == {"a": ("cat",), "b": ("Mein Hund",)}
    assert notes(data) == {UNLABELLED: ["c.jpg"]}


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ({"cat_train": "a 1\nb"}, r"ImageSets/Main/cat_train.txt has the line 'b': expected a photo and 1, -1 or 0"),
        ({"cat_train": "a 2"}, r"ImageSets/Main/cat_train.txt has the line 'a 2'"),
        ({"cat_train": "a 1"}, r"has 1 class \(cat\): a classifier needs two or more"),
        ({"cat_train": "a 1", "dog_val": "a 1"}, r"ImageSets/Main has JPEGImages/a.jpg in two sets"),
    ],
)
def test_a_list_of_a_class_that_cannot_be_used_is_refused(sets: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        voc.classification(lists(boxed(tmp_path), **sets))


# --- masks ------------------------------------------------------------------------------------------------------------


def masked(root: Path, **masks: bytes) -> Path:
    for shade, (name, mask) in enumerate(masks.items()):
        write_files(root, {f"JPEGImages/{name}.jpg": photo(shade), f"SegmentationClass/{name}.png": mask})
    return root


def test_masks_in_vocs_palette_have_vocs_classes_and_go_in_byte_for_byte(tmp_path: Path) -> None:
    data = lists(masked(tmp_path / "data", a=indexed(0, 8, 255), b=indexed(0, 12)), "Segmentation", train="a", val="b")
    write_files(data, {"SegmentationObject/a.png": indexed(1), "JPEGImages/c.jpg": photo(9)})
    read = voc.segmentation(data)
    assert (len(read.class_names), read.class_names[8], read.class_names[12]) == (21, "cat", "dog")
    assert found(read) == {"JPEGImages/a.jpg": "train", "JPEGImages/b.jpg": "validation"}
    assert notes(read)[IGNORED] == ["SegmentationClass/a.png"]
    assert notes(read)["photos without their mask, left out"] == ["JPEGImages/c.jpg"]
    prepare("semantic-segmentation", data, tmp_path / "out")
    assert (tmp_path / "out/train_annotation/a.png").read_bytes() == (data / "SegmentationClass/a.png").read_bytes()


def test_masks_in_another_palette_have_numbers_for_names(tmp_path: Path) -> None:
    read = voc.segmentation(masked(tmp_path, a=indexed(0, 1, 3, palette=[*range(256)] * 3)))
    assert (read.class_names, read.pixels) == (("0", "1", "3"), (0, 1, 3))


@pytest.mark.parametrize("as_palette", [False, True])
def test_a_labelmap_names_the_colours_of_masks_and_its_own_lines_are_the_order(
    as_palette: bool, tmp_path: Path
) -> None:
    labelmap = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nMein Hund:250,50,83:head,tail:run\ncat:1,2,3::\n"
    image = Image.new("RGB", SIZE)
    image.paste((1, 2, 3), (0, 0, 5, 5))
    image.paste((250, 50, 83), (5, 0, 9, 5))
    mask = encode(image.quantize(3) if as_palette else image, "PNG")
    data = write_files(masked(tmp_path, a=mask), {"labelmap.txt": labelmap})
    read = voc.segmentation(data)
    assert (read.class_names, read.pixels) == (("background", "Mein Hund", "cat"), ())
    pixels = read.entries[0].target.read().pixels
    assert [pixels[0, 0], pixels[0, 5], pixels[9, 9]] == [2, 1, 0]
    assert notes(read) == {f"{CLASS_VALUES}, by labelmap.txt": ["0 0 0 background", "250 50 83 Mein Hund", "1 2 3 cat"]}


def test_no_folder_of_masks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no masks in SegmentationClass/: `--layout mask-folders`"):
        voc.segmentation(boxed(tmp_path))


# --- any text, and what is written is read back -----------------------------------------------------------------------


@given(st.text(max_size=60))
def test_any_text_as_a_list_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = boxed(tmp_path_factory.mktemp("voc"), "ab")
    lists(root, train=text.encode(errors="replace").decode(), cat_train=text.encode(errors="replace").decode())
    for read in (voc.detection, voc.classification):
        try:
            assert set(found(read(root)).values()) <= {"", "train"}
        except UserError as error:
            assert str(error)  # noqa: PT017 - either is right


NAMES = st.text(st.characters(categories=["L", "N"], max_codepoint=0x2FFF), min_size=1, max_size=6)
EDGES = st.integers(1, 60)


@given(
    st.dictionaries(
        NAMES, st.lists(st.tuples(NAMES, EDGES, EDGES, EDGES, EDGES), min_size=1, max_size=3), min_size=1, max_size=3
    )
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, photos: dict[str, list[tuple[str, int, int, int, int]]]
) -> None:
    root = tmp_path_factory.mktemp("voc")
    keys = {}
    for number, things in enumerate(photos.values()):
        write_files(root, {f"JPEGImages/ö {number}.jpg": b"", f"Annotations/ö {number}.xml": xml(*things)})
        keys[f"ö {number}"] = [(name, (left - 1, top - 1, right, bottom)) for name, left, top, right, bottom in things]
    read = {
        entry.name: [(thing.name, thing.box) for thing in entry.target.objects] for entry in voc.detection(root).entries
    }
    assert read == keys


# --- the drawn pets and the real ones ---------------------------------------------------------------------------------


def some(pets: Path, root: Path) -> Path:
    """Every eighth of the real pets in their own layout, every third of them with a note to turn it by EXIF."""
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
    """The pets of `data` in VOC's layout, with names that have spaces: the boxes of those that have some, all masks."""
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
    return write_files(root, {f"VOC2012/ImageSets/Main/{part}.txt": "\n".join(of) for part, of in names.items()})


def check_equal(name: str, data: Path, tmp_path: Path, *options: str) -> tuple[Prepared, Prepared]:
    """Prepare `data` as pets and as VOC: the same photos must be there in both."""
    ours = prepare(name, as_voc(data, tmp_path / "voc"), tmp_path / "one")
    theirs = prepare(name, data, tmp_path / "two", "--split", "random", *options)
    assert ours.truths.keys() == theirs.truths.keys()
    return ours, theirs


def check_pets(data: Path, tmp_path: Path) -> None:
    ours, theirs = check_equal("object-detection", data, tmp_path / "boxes")
    assert ours.truths == theirs.truths
    assert set(ours.channels.values()) == {"train", "validation"}
    ours, theirs = check_equal("semantic-segmentation", data, tmp_path / "masks", "--classes", "pet")
    for key, truth in theirs.truths.items():
        assert np.array_equal(ours.truths[key].mask, truth.mask)


def test_the_drawn_pets_as_voc_have_the_boxes_and_masks_that_they_have_as_pets(drawn: Path, tmp_path: Path) -> None:
    check_pets(drawn, tmp_path)


def test_the_real_pets_as_voc_have_the_boxes_and_masks_that_they_have_as_pets(pets: Path, tmp_path: Path) -> None:
    check_pets(some(pets, tmp_path / "pets"), tmp_path)


def test_prepare_says_what_it_found_and_leaves_nothing_out_in_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = lists(boxed(tmp_path / "data", "abcdef"), train="a\nb\nc\nd", val="e")
    write_files(data, {"JPEGImages/g.gif": solid(1, 2, 3)})
    assert program.main(["prepare", "object-detection", "--data", str(data), "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [*lines[:4], *lines[-2:]] == [
        f"{data} is read as voc: Annotations/a.xml is an <annotation>",
        "photos without their XML file, left out: 1 (JPEGImages/g.gif)",
        "photos that the split does not name, not used: 1 (f.jpg)",
        "4 photos to train on, 1 to validate on, 1 class",
        f"Channels: {tmp_path / 'out'}",
        "Set num_classes=1 num_training_samples=4",
    ]
