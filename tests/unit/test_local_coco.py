"""COCO's JSON files in `prepare`: what is read, and what is rejected or left out by name."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as pycoco

from local import __main__ as program
from local.datasets import layouts
from local.datasets.dataset import UNUSABLE, DataSet
from local.datasets.layouts.coco import instances as coco_json
from local.datasets.layouts.coco import reader as coco
from local.datasets.layouts.pets import reader as pets
from local.datasets.masks.mask import Mask
from local.datasets.notes import MISSING, TEST_PHOTOS, TWICE, UNLISTED, UNUSED_CLASSES
from local.errors import UserError
from tests.photos import TURNS, encode, encode_rotated, quarters
from tests.unit import few_pets
from tests.unit.layouts import boxes, notes, prepare, write_files

CAT, DOG = {"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}
ONE = {"id": 1, "file_name": "1.jpg", "width": 60, "height": 40}
TWO = {"id": 2, "file_name": "2.jpg", "width": 60, "height": 40}
BOX = [10, 5, 20.5, 15]


def annotation(image: object = 1, category: object = 3, bbox: object = BOX, **fields: object) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, **fields}


def document(annotations: object, images: object = (ONE, TWO), categories: object = (CAT, DOG)) -> dict[str, object]:
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def lay_out(root: Path, content: object, *photos: str, file: str = "labels.json") -> Path:
    """Write a file with this JSON below `root`, and photos of 60 x 40 pixels."""
    photo = encode(quarters(60, 40))
    return write_files(
        root, {file: json.dumps(content), **dict.fromkeys(photos or ("images/1.jpg", "images/2.jpg"), photo)}
    )


def mask(data: DataSet[Mask], number: int = 0) -> NDArray[np.uint8]:
    return data.entries[number].target.read().pixels


def test_boxes_are_left_top_width_height_and_a_photo_without_boxes_is_background(tmp_path: Path) -> None:
    data = coco.detection(lay_out(tmp_path, document([annotation(), annotation(category=7, bbox=[0, 0, 1, 2])])))
    assert boxes(data) == {"images/1.jpg": [("cat", (10, 5, 30.5, 20)), ("dog", (0, 0, 1, 2))], "images/2.jpg": []}
    assert [entry.target.size for entry in data.entries] == [(60, 40)] * 2
    assert data.class_names == ("cat", "dog")


def test_categories_are_sorted_by_id_and_unused_ones_are_left_out(tmp_path: Path) -> None:
    categories = [{"id": 90, "name": " big \n dog"}, {"id": 0, "name": "animals", "supercategory": "none"}, CAT, DOG]
    annotations = [annotation(category=90), annotation(category=3), annotation(category=7, iscrowd=1)]
    data = coco.detection(lay_out(tmp_path, document(annotations, categories=categories)))
    assert data.class_names == ("cat", "big dog")
    assert notes(data) == {coco.CROWDS: ["dog in 1.jpg"], UNUSED_CLASSES: ["animals", "dog"]}


def test_categories_of_two_files_are_matched_by_name(tmp_path: Path) -> None:
    lay_out(tmp_path, document([annotation()]), file="a_train.json")
    swapped = [{"id": 3, "name": "dog"}, {"id": 7, "name": "cat"}]
    images = [{**ONE, "file_name": "3.jpg"}]
    data = coco.detection(lay_out(tmp_path, document([annotation()], images, swapped), "3.jpg", file="b_val.json"))
    assert boxes(data)["images/1.jpg"][0][0] == "cat"
    assert boxes(data)["3.jpg"][0][0] == "dog"
    assert data.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "files",
    [
        {
            "annotations/instances_train2017.json": "train2017/1.jpg",
            "annotations/instances_val2017.json": "val2017/1.jpg",
        },
        {"train/_annotations.coco.json": "train/1.jpg", "valid/_annotations.coco.json": "valid/1.jpg"},
        {
            "annotations/instances_Train.json": "images/Train/1.jpg",
            "annotations/instances_Val.json": "images/Val/1.jpg",
        },
    ],
)
def test_file_and_folder_names_decide_the_part_and_between_photos_with_the_same_name(
    files: dict[str, str], tmp_path: Path
) -> None:
    for number, (file, photo) in enumerate(files.items()):
        lay_out(tmp_path, document([annotation(bbox=[number, 0, 9, 9])], [ONE]), photo, file=file)
    layout = layouts.detect(tmp_path)
    data = layout.read("detection")
    assert layout.name == "coco"
    assert [entry.part for entry in data.entries] == ["train", "validation"]
    assert boxes(data) == {photo: [("cat", (at, 0, at + 9, 9))] for at, photo in enumerate(files.values())}


def test_photo_folders_decide_the_part_if_one_file_lists_all_photos(tmp_path: Path) -> None:
    images = [{**ONE, "file_name": "train\\1.jpg"}, {**TWO, "file_name": "val\\2.jpg"}]
    data = coco.detection(lay_out(tmp_path, document([annotation()], images), "x/train/1.jpg", "x/val/2.jpg"))
    assert [entry.part for entry in data.entries] == ["train", "validation"]


def test_unused_files_and_entries_are_listed_with_a_reason(tmp_path: Path) -> None:
    lay_out(tmp_path, document([]), "4.jpg", file="captions_train.json")
    lay_out(tmp_path, document([], [{**ONE, "file_name": "5.jpg"}]), "test/5.jpg", file="test/_annotations.coco.json")
    images = [ONE, TWO, {**TWO, "id": 3}, {**TWO, "id": 4, "file_name": "gone.jpg"}, {**TWO, "id": 5, "file_name": 6}]
    data = coco.detection(lay_out(tmp_path, document([annotation(), annotation(image=99), 7], images)))
    assert notes(data) == {
        coco.OTHERS: ["captions_train.json"],
        MISSING: ["'gone.jpg' of labels.json"],
        TWICE: ["'2.jpg' of labels.json"],
        TEST_PHOTOS: ["test/5.jpg"],
        coco.STRAYS: ["labels.json annotations[1]", "labels.json annotations[2]"],
        UNLISTED: ["4.jpg"],
        UNUSABLE: ["labels.json: the image with the id 5 has the file_name 6: give it a path"],
        UNUSED_CLASSES: ["dog"],
    }


def test_a_keypoints_file_is_read_if_there_is_no_other_file(tmp_path: Path) -> None:
    assert boxes(coco.detection(lay_out(tmp_path, document([annotation()]), file="person_keypoints_val.json")))[
        "images/1.jpg"
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("stored", [True, False])
def test_width_and_height_decide_whether_annotations_refer_to_the_stored_or_the_upright_photo(
    stored: bool, orientation: int, tmp_path: Path
) -> None:
    red = Image.new("L", (60, 40))
    red.paste(255, (0, 0, 30, 20))
    turn = TURNS[orientation] if stored or orientation < 5 else None  # if both sizes are equal, the stored photo counts
    annotated = red.transpose(turn) if turn is not None else red
    left, top, right, bottom = annotated.getbbox() or ()
    cat = annotation(
        bbox=[left, top, right - left, bottom - top],
        segmentation=[[left, top, right, top, right, bottom, left, bottom]],
    )
    images = [
        {"id": key, "file_name": f"{key}.jpg", "width": annotated.width, "height": annotated.height} for key in (1, 2)
    ]
    data = lay_out(tmp_path / "in", document([cat, {**cat, "image_id": 2}], images))
    for name, colour in (("1.jpg", "blue"), ("2.jpg", "green")):
        (data / "images" / name).write_bytes(encode_rotated(Image.new("RGB", (60, 40), colour), orientation))
    for boxed in prepare("object-detection", data, tmp_path / "boxes").truths.values():
        assert boxed.boxes == ((0, 0, 0, 30, 20),)
    for masked in prepare("semantic-segmentation", data, tmp_path / "masks").truths.values():
        assert np.array_equal(masked.mask, np.asarray(red) // 255)


def test_without_width_and_height_annotations_refer_to_the_stored_photo(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "1.jpg"}, {**TWO, "width": None, "height": 0}]
    data = lay_out(
        tmp_path / "in", document([annotation(segmentation=SQUARE), annotation(2, segmentation=SQUARE)], images)
    )
    for name, colour in (("1.jpg", "blue"), ("2.jpg", "green")):
        (data / "images" / name).write_bytes(encode_rotated(Image.new("RGB", (40, 60), colour), 6))
    for boxed in prepare("object-detection", data, tmp_path / "boxes").truths.values():
        assert boxed.boxes == ((0, 20, 10, 35, 30),)
    for masked in prepare("semantic-segmentation", data, tmp_path / "masks").truths.values():
        assert Image.fromarray(masked.mask).getbbox() == (20, 10, 35, 30)


# ---- masks ------------------------------------------------------------------------------------------------------

SQUARE = [[10, 5, 30, 5, 30, 20, 10, 20]]


def painted(*rectangles: tuple[int, int, int, int, int]) -> NDArray[np.uint8]:
    """Return a mask of 60 x 40 pixels with a value in each (left, top, right, bottom), later ones on top."""
    expected = np.zeros((40, 60), np.uint8)
    for value, left, top, right, bottom in rectangles:
        expected[top:bottom, left:right] = value
    return expected


def run_lengths(expected: NDArray[np.uint8], kind: str) -> dict[str, object]:
    text = pycoco.encode(np.asfortranarray(expected))["counts"].decode()
    if kind == "compressed":
        return {"size": [40, 60], "counts": text}
    flat = [0, *expected.T.ravel().tolist(), 2]
    ends = [at for at in range(1, len(flat)) if flat[at] != flat[at - 1]]
    return {"size": [40, 60], "counts": [end - start for start, end in zip([1, *ends], ends, strict=False)]}


@pytest.mark.parametrize("kind", ["plain", "compressed"])
def test_run_lengths_in_both_formats_are_read_column_by_column(kind: str, tmp_path: Path) -> None:
    expected = painted((1, 10, 5, 30, 20), (0, 12, 8, 14, 9), (1, 59, 39, 60, 40))
    data = coco.segmentation(lay_out(tmp_path, document([annotation(segmentation=run_lengths(expected, kind))])))
    assert data.class_names == ("background", "cat")
    assert np.array_equal(mask(data), expected)


@pytest.mark.parametrize("segmentation", [SQUARE, SQUARE[0], [*SQUARE, [0, 0, 1, 1]], [[*SQUARE[0], 10, 5]]])
def test_a_polygon_fills_the_pixels_inside_it(segmentation: object, tmp_path: Path) -> None:
    data = coco.segmentation(lay_out(tmp_path, document([annotation(segmentation=segmentation)])))
    assert np.array_equal(mask(data), painted((1, 10, 5, 30, 20)))
    assert np.array_equal(mask(data, 1), painted())


def test_all_polygons_of_an_object_are_filled_even_where_they_overlap(tmp_path: Path) -> None:
    two = [*SQUARE, [25, 10, 50, 10, 50, 15, 25, 15]]
    data = coco.segmentation(lay_out(tmp_path, document([annotation(segmentation=two)])))
    assert np.array_equal(mask(data), painted((1, 10, 5, 30, 20), (1, 25, 10, 50, 15)))


def test_smaller_objects_are_on_top_and_crowds_and_plain_boxes_are_ignored_below_them(tmp_path: Path) -> None:
    small, crowd = [[12, 8, 20, 8, 20, 30, 12, 30]], painted((1, 0, 0, 60, 12))
    annotations = [
        annotation(category=7, segmentation=small),
        annotation(segmentation=SQUARE),
        annotation(category=7, segmentation=run_lengths(crowd, "plain"), iscrowd=1),
        annotation(bbox=[40, 10, 10, 10], segmentation=[]),
    ]
    data = coco.segmentation(lay_out(tmp_path, document(annotations)))
    expected = painted((255, 0, 0, 60, 12), (255, 40, 10, 50, 20), (1, 10, 5, 30, 20), (2, 12, 8, 20, 30))
    assert np.array_equal(mask(data), expected)
    assert notes(data) == {coco.BOXES_ONLY: ["cat in 1.jpg"]}


def test_a_category_named_background_is_the_background(tmp_path: Path) -> None:
    annotations = [annotation(segmentation=SQUARE), annotation(category=7, segmentation=[[0, 0, 60, 0, 60, 40, 0, 40]])]
    categories = [CAT, {"id": 7, "name": "background"}]
    data = coco.segmentation(lay_out(tmp_path, document(annotations, categories=categories)))
    assert data.class_names == ("background", "cat")
    assert np.array_equal(mask(data), painted((1, 10, 5, 30, 20)))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ("x", 'labels.json annotations[0] has the segmentation "x": expected polygons or run lengths'),
        ([[1, 2, 3]], "labels.json annotations[0] has the polygon [1, 2, 3]: expected [x, y, x, y, ...] in pixels"),
        ([["a"] * 6], 'has the polygon ["a", "a"'),
        ([[1, 2, 3, 4, 5, 1e9]], "has the polygon [1, 2, 3, 4, 5, 1000000000.0]"),
        ([1, 2, 3, 4, 5, float("nan")], "has the polygon [1, 2, 3, 4, 5, NaN]"),
        ([SQUARE[0], 7], "has the polygon 7"),
        ({"counts": [2400]}, "has run lengths of the size null: the image has the height and width [40, 60]"),
        ({"size": [60, 40], "counts": [2400]}, "has run lengths of the size [60, 40]"),
        ({"size": [40, 60], "counts": [2300]}, "has the run lengths [2300], which do not add up to 60 x 40 pixels"),
        ({"size": [40, 60], "counts": [2400, -1, 1]}, "has the run lengths [2400, -1, 1]: expected whole numbers"),
        ({"size": [40, 60], "counts": [1e30]}, "has the run lengths [1e+30]: expected whole numbers"),
        ({"size": [40, 60], "counts": "\ud800"}, 'the run lengths "\\ud800", which are not in COCO\'s compressed form'),
        ({"size": [40, 60], "counts": "P"}, 'has the run lengths "P", which are not in COCO\'s compressed form'),
        ({"size": [40, 60], "counts": "1"}, 'has the run lengths "1", which do not add up to 60 x 40 pixels'),
    ],
)
def test_an_invalid_segmentation_is_rejected_by_name(segmentation: object, message: str, tmp_path: Path) -> None:
    data = coco.segmentation(lay_out(tmp_path, document([annotation(segmentation=segmentation)])))
    with pytest.raises(UserError) as error:
        mask(data)
    assert message in str(error.value)


# ---- invalid files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            annotation(bbox=[1, 2, 3]),
            "labels.json annotations[1] has the bbox [1, 2, 3]: expected [left, top, width, height]",
        ),
        (annotation(bbox=[1, 2, float("nan"), 3]), "has the bbox [1, 2, NaN, 3]"),
        (annotation(bbox=[1, 2, float("inf"), 3]), "has the bbox [1, 2, Infinity, 3]"),
        (annotation(bbox=["1", "2", "3", "4"]), 'has the bbox ["1", "2", "3", "4"]'),
        (annotation(bbox=[True, 2, 3, 4]), "has the bbox [true, 2, 3, 4]"),
        (annotation(bbox=[10**400, 2, 3, 4]), "has the bbox [1000000"),
        (annotation(bbox=None), "has the bbox null"),
        (annotation(category=5), "labels.json annotations[1] has the category_id 5, which is not in categories"),
        (annotation(category=[3]), "has the category_id [3], which"),
    ],
)
def test_a_photo_with_an_invalid_box_is_left_out_and_the_box_is_reported(
    broken: dict[str, object], message: str, tmp_path: Path
) -> None:
    data = coco.detection(lay_out(tmp_path, document([annotation(image=2), broken])))
    assert list(boxes(data)) == ["images/2.jpg"]
    (reason,) = notes(data)[UNUSABLE]
    assert message in reason


@pytest.mark.parametrize("sides", [(1, 1), (60, None), ("60", "40"), (-60, 40), (1e30, 40), (True, True)])
def test_an_image_with_an_invalid_size_is_left_out(sides: tuple[object, object], tmp_path: Path) -> None:
    image = {**ONE, "width": sides[0], "height": sides[1]}
    data = coco.detection(lay_out(tmp_path, document([annotation(image=2)], [image, TWO])))
    assert list(boxes(data)) == ["images/2.jpg"]
    (reason,) = notes(data)[UNUSABLE]
    assert reason.startswith("'1.jpg' of labels.json has a width and height of ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": [ONE]}, "labels.json has no list annotations: a COCO instances file has the lists"),
        (document({"a": 1}), "labels.json has no list annotations"),
        (
            document([], [ONE, ONE]),
            "labels.json images[1] has the id 1, which labels.json images[0] also has: make ids unique",
        ),
        (document([], [ONE, {"file_name": "2.jpg"}]), "labels.json images[1] is {"),
        (document([annotation()], ["1.jpg"]), 'labels.json images[0] is "1.jpg": it needs an id'),
        (document([], categories=[CAT, CAT]), "labels.json categories[1] has the id 3, which labels.json cat"),
        (document([], categories=["cat"]), 'labels.json categories[0] is "cat": it needs an id'),
        (document([], categories=[{"id": 1, "name": 5}]), "labels.json categories: the id 1 has the name 5: give it"),
        (
            document([], categories=[{"id": 1, "name": " "}]),
            "labels.json categories: the id 1 has a name that is empty",
        ),
        (document([], categories=[{"id": 1, "name": "\ud800"}]), "the id 1 has a name that has control characters"),
        (document([annotation(bbox=[0.1, 0.5, 0.2, 1])]), "labels.json has boxes in fractions, with no number above 1"),
        (document([]), "labels.json has no objects in 2 photos: annotate some"),
        (
            document([annotation()], [{**ONE, "file_name": "no.jpg"}]),
            "'no.jpg' of labels.json: none of the listed photos is",
        ),
        (document([annotation()], []), "lists no image: none of the listed photos"),
        (
            document([annotation(bbox=7), annotation(image=2, bbox=7)]),
            "has the bbox 7: expected [left, top, width, height] in pix",
        ),
    ],
)
def test_an_unusable_file_is_rejected_with_the_key_the_value_and_the_fix(
    content: object, message: str, tmp_path: Path
) -> None:
    data = lay_out(tmp_path, content)
    with pytest.raises(UserError) as error:
        layouts.detect(data, "coco").read("detection")
    assert message in str(error.value)


def test_files_with_only_ambiguous_names_are_rejected(tmp_path: Path) -> None:
    lay_out(tmp_path, document([annotation()], [ONE]), "cat/1.jpg", "dog/1.jpg", file="a/b.json")
    with pytest.raises(UserError, match=r"1.jpg may be cat/1.jpg or dog/1.jpg: add the folder to file_name, as in"):
        coco.detection(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", '{"images": [NaN', '{"images": [' + "[" * 100_000, '{"images": [' + "9" * 5000, "\xff"]
)
def test_a_file_that_is_not_json_is_rejected_by_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^a\.json is not JSON"):
        coco_json.parse(text.encode("latin-1"), "a.json")


def test_boxes_without_outlines_are_not_masks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^labels\.json has boxes but no outlines, because all segmentations"):
        coco.segmentation(lay_out(tmp_path, document([annotation(segmentation=[])])))


def test_more_categories_than_mask_values_are_rejected(tmp_path: Path) -> None:
    many = [{"id": number, "name": f"c{number}"} for number in range(255)]
    annotations = [annotation(category=number, segmentation=SQUARE) for number in range(255)]
    with pytest.raises(UserError, match="has 255 categories: a mask can hold at most 254"):
        coco.segmentation(lay_out(tmp_path, document(annotations, categories=many)))
    assert len(coco.segmentation(lay_out(tmp_path, document(annotations[1:], categories=many))).class_names) == 255


def test_other_json_files_are_not_taken_for_coco(tmp_path: Path) -> None:
    built_in = {"file": "1.jpg", "annotations": [{"class_id": 0}], "categories": [{"class_id": 0, "name": "cat"}]}
    lay_out(tmp_path, built_in, "cat/1.jpg", file="train_annotation/1.json")
    lay_out(tmp_path, [annotation()], file="results.json")
    lay_out(tmp_path, {"images": ["1.jpg"], "categories": {}}, file="stats.json")
    lay_out(tmp_path, {"version": "5", "shapes": [], "imagePath": "1.jpg"}, file="labelme.json")
    assert coco.recognise(tmp_path) is None
    with pytest.raises(UserError, match="has no COCO file"):
        layouts.detect(tmp_path, "coco").read("detection")


def test_classification_is_rejected_with_the_layouts_that_support_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="which has no class for each photo: classification takes "):
        layouts.detect(lay_out(tmp_path, document([annotation()]))).read("classification")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
IMAGES = st.lists(
    st.fixed_dictionaries(
        {"id": st.integers(0, 9) | JSON, "file_name": st.sampled_from(["1.jpg", "2.jpg"]) | JSON},
        optional={"width": st.just(60) | JSON, "height": st.just(40) | JSON},
    )
    | JSON,
    max_size=3,
)
ANNOTATIONS = st.lists(
    st.fixed_dictionaries(
        {"image_id": st.integers(0, 9) | JSON, "category_id": st.integers(0, 3) | JSON},
        optional={
            "bbox": st.lists(st.integers(0, 60), min_size=4, max_size=4) | JSON,
            "segmentation": st.lists(st.lists(st.floats(-9, 90), max_size=8), max_size=2)
            | st.fixed_dictionaries({"size": st.just([40, 60]), "counts": JSON})
            | JSON,
            "iscrowd": JSON,
        },
    )
    | JSON,
    max_size=4,
)
CATEGORIES = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 3) | JSON, "name": st.sampled_from(["cat", "dog"]) | JSON}) | JSON,
    max_size=2,
)
DOCUMENTS = st.builds(document, ANNOTATIONS | JSON, IMAGES | JSON, CATEGORIES | JSON)


@given(DOCUMENTS)
@example(document([annotation(bbox=10**400)]))
def test_any_json_document_is_read_or_rejected(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    root = tmp_path_factory.getbasetemp() / "any"
    lay_out(root, content)
    for read in (coco.detection, coco.segmentation):
        try:
            data: DataSet[Any] = read(root)
        except UserError:
            continue
        assert all(name.encode() for name in data.class_names)
        for entry in data.entries:
            if isinstance(entry.target, Mask):
                with contextlib.suppress(UserError):
                    assert entry.target.read().pixels.dtype == np.uint8


@given(st.binary(max_size=60))
def test_random_bytes_are_rejected_by_name(data: bytes) -> None:
    with pytest.raises(UserError, match=r"^a\.json"):
        coco_json.parse(data, "a.json")


NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=8)
NUMBERS = st.integers(0, 4000) | st.floats(0, 4000)


@given(st.lists(NAMES, min_size=1, max_size=4, unique=True), st.data())
def test_written_annotations_are_read_back(names: list[str], data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, 99), min_size=len(names), max_size=len(names), unique=True))
    boxes = data.draw(
        st.lists(st.tuples(st.sampled_from(names), st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)), max_size=5)
    )
    annotations = [annotation(category=ids[names.index(name)], bbox=list(box)) for name, box in boxes]
    categories = [{"id": key, "name": name} for key, name in zip(ids, names, strict=True)]
    read = coco_json.parse(json.dumps(document(annotations, [ONE], categories)).encode(), "a.json")
    assert read.categories == tuple(name for _, name in sorted(zip(ids, names, strict=True)))
    assert [(read_object.category, read_object.edges()) for read_object in read.images[0].objects] == [
        (name, (left, top, left + width, top + height)) for name, (left, top, width, height) in boxes
    ]


# ---- the pets in COCO's layout ----------------------------------------------------------------------------------


def write(root: Path, photos: dict[Path, tuple[tuple[int, int], list[dict[str, Any]]]], *names: str) -> Path:
    """Copy photos and write their annotations as CVAT does. Each photo has a (width, height) and annotations."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (root / "images" / "süd 1").mkdir(parents=True)
    (root / "annotations").mkdir()
    for number, (path, (size, objects)) in enumerate(photos.items(), start=100):
        (root / "images" / "süd 1" / path.name).write_bytes(path.read_bytes())
        images.append({"id": number, "file_name": f"süd 1/{path.name}", "width": size[0], "height": size[1]})
        annotations += [
            {"id": len(annotations) + at, "image_id": number, **fields} for at, fields in enumerate(objects)
        ]
    content = document(annotations, images, [{"id": 10 + 5 * at, "name": name} for at, name in enumerate(names)])
    (root / "annotations" / "instances_default.json").write_text(json.dumps(content))
    return root


def write_boxes(data: Path, root: Path) -> Path:
    photos = {}
    for entry in pets.detection(data).entries:
        corners = [(10 if item.name == "cat" else 15, *item.box) for item in entry.target.objects]
        objects = [{"category_id": key, "bbox": [x, y, right - x, down - y]} for key, x, y, right, down in corners]
        photos[entry.path] = entry.target.size, objects
    return write(root, photos, "cat", "dog")


def write_masks(data: Path, root: Path, kind: str) -> Path:
    """Write each trimap as two objects: the pet, and below it the pet with its border."""
    photos = {}
    for entry in pets.segmentation(data).entries:
        trimap = entry.target.read().pixels
        objects = []
        for key, inside in ((10, trimap == 1), (15, trimap != 2)):
            text = pycoco.encode(np.asfortranarray(inside, np.uint8))["counts"].decode()
            runs = {"size": list(trimap.shape), "counts": text}
            objects.append({"category_id": key, "segmentation": outlines(inside) if kind == "polygons" else runs})
        photos[entry.path] = trimap.shape[::-1], objects
    return write(root, photos, "pet", "border")


def outlines(inside: NDArray[np.bool_]) -> list[list[int]]:
    """Return polygons around the pixels, clockwise along their edges, with every third corner, as if clicked."""
    outside = ~np.pad(inside, 1)
    above, below, left, right = outside[:-2, 1:-1], outside[2:, 1:-1], outside[1:-1, :-2], outside[1:-1, 2:]
    after: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for is_edge, (x, y), (to_x, to_y) in (
        (above, (0, 0), (1, 0)),
        (right, (1, 0), (1, 1)),
        (below, (1, 1), (0, 1)),
        (left, (0, 1), (0, 0)),
    ):
        for row, column in np.argwhere(inside & is_edge).tolist():
            after.setdefault((column + x, row + y), []).append((column + to_x, row + to_y))
    polygons = []
    while after:
        point = start = next(iter(after))
        loop = []
        while True:
            loop.append(point)
            ends = after[point]
            following = ends.pop()
            if not ends:
                del after[point]
            point = following
            if point == start:
                break
        corners = np.array(loop)
        ends_of = np.roll(corners, -1, axis=0)
        if (corners[:, 0] * ends_of[:, 1] - ends_of[:, 0] * corners[:, 1]).sum() > 0:  # not around a hole
            polygons.append(corners[::3].ravel().tolist())
    return polygons


def differing(coco: dict[bytes, Any], pets: dict[bytes, Any]) -> float:
    """Return the share of pixels whose class differs. `pets` has the classes pet, background and border."""
    assert coco.keys() == pets.keys()
    pairs = [(coco[data].mask, np.array([1, 0, 2], np.uint8)[pets[data].mask]) for data in coco]
    return float(sum(np.count_nonzero(left != right) for left, right in pairs) / sum(left.size for left, _ in pairs))


def test_the_drawn_pets_keep_their_boxes_in_coco(drawn: Path, tmp_path: Path) -> None:
    as_pets = prepare("object-detection", drawn, tmp_path / "one")
    assert len(as_pets.truths) == 36
    as_coco = prepare("object-detection", write_boxes(drawn, tmp_path / "data"), tmp_path / "two")
    assert as_coco.truths == as_pets.truths


@pytest.mark.parametrize(("kind", "share"), [("run lengths", 0), ("polygons", 0.004)])
def test_the_drawn_pets_keep_their_masks_in_coco(kind: str, share: float, drawn: Path, tmp_path: Path) -> None:
    as_pets = prepare("semantic-segmentation", drawn, tmp_path / "one", "--classes", "pet", "--split", "random")
    assert len(as_pets.truths) == 48
    as_coco = prepare("semantic-segmentation", write_masks(drawn, tmp_path / "data", kind), tmp_path / "two")
    assert differing(as_coco.truths, as_pets.truths) <= share


def test_the_real_pets_keep_their_boxes_and_masks_in_coco(pets: Path, tmp_path: Path) -> None:
    data = few_pets.copy(pets, tmp_path / "pets", step=24, rotated=6)
    as_pets = prepare("object-detection", data, tmp_path / "1")
    as_coco = prepare("object-detection", write_boxes(data, tmp_path / "boxes"), tmp_path / "2")
    assert len(as_pets.truths) > 10
    assert as_coco.truths == as_pets.truths
    as_pets = prepare("semantic-segmentation", data, tmp_path / "3", "--classes", "pet", "--split", "random")
    as_coco = prepare("semantic-segmentation", write_masks(data, tmp_path / "masks", "polygons"), tmp_path / "4")
    assert len(as_pets.truths) > 20
    assert differing(as_coco.truths, as_pets.truths) <= 0.007


def test_prepare_reports_the_layout_and_the_hyperparameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [{**ONE, "id": number, "file_name": f"{number}.jpg"} for number in range(10)]
    data = lay_out(
        tmp_path / "in",
        document([annotation(number) for number in range(10)], images),
        *(f"p/{n}.jpg" for n in range(10)),
    )
    arguments = ["prepare", "object-detection", "--data", str(data), "--out", str(tmp_path / "out")]
    assert program.main(arguments) == 0
    printed = capsys.readouterr().out
    assert f"{data} is read as coco: labels.json lists images and annotations\n" in printed
    assert "classes without photos, left out: 1 (dog)" in printed
    assert "Set num_classes=1 num_training_samples=8" in printed
