"""The layout that a folder is read in, which depends on its files and the task, and what is rejected."""

from pathlib import Path

import pytest

from local.datasets import layouts
from local.errors import UserError
from tests.unit.layouts import write_files

BOX = "0 0.5 0.5 0.2 0.2\n"
XML = "<annotation><filename>1.jpg</filename></annotation>"
COCO = '{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": [], "categories": []}'
IMAGES = [f"images/{number}.jpg" for number in range(1, 4)]
CLASSES = ["cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/4.jpg"]
TABLE = ("path,", *(f"{photo}," for photo in CLASSES))


def folder(root: Path, photos: list[str], files: dict[str, str]) -> Path:
    return write_files(root, {**dict.fromkeys(photos, ""), **files})


def table(*cells: str) -> str:
    """Return a table of the photos in CLASSES. `cells` follow the path: first in the header, then for each photo."""
    return "".join(f"{path}{line}\n" for path, line in zip(TABLE, cells, strict=True))


STATS = "file,width\nimages/1.jpg,30\nimages/2.jpg,30\nimages/3.jpg,40\n"


@pytest.mark.parametrize(
    ("task", "photos", "files", "name"),
    [
        ("detection", IMAGES, {"labels/1.txt": BOX, "stats.csv": STATS}, "yolo"),
        ("segmentation", [*IMAGES, "masks/1.png"], {"metadata.csv": STATS}, "mask-folders"),
        ("classification", [*IMAGES, "masks/1.png"], {"metadata.csv": STATS.replace("width", "label")}, "tables"),
        ("classification", CLASSES, {"cat/1.xml": XML}, "class-folders"),
        ("detection", CLASSES, {"cat/1.xml": XML}, "voc"),
        ("classification", CLASSES, {f"{photo[:-3]}xml": XML for photo in CLASSES}, "voc"),
    ],
)
def test_a_layout_with_labels_for_the_task_is_chosen(
    task: str, photos: list[str], files: dict[str, str], name: str, tmp_path: Path
) -> None:
    assert layouts.detect(folder(tmp_path, photos, files), task=task).name == name


def test_a_layout_without_labels_for_the_task_is_rejected_with_the_alternatives(tmp_path: Path) -> None:
    layout = layouts.detect(folder(tmp_path, IMAGES, {"stats.csv": STATS}), task="detection")
    with pytest.raises(
        UserError, match=r"is read as tables \(stats.csv .* no boxes: detection takes .*yolo: .* --layout"
    ):
        layout.read("detection")


@pytest.mark.parametrize(
    ("photos", "files", "name"),
    [
        (["train/1.jpg", "valid/2.jpg"], {"train/_annotations.coco.json": COCO}, "coco"),
        (["train2017/1.jpg", "val2017/2.jpg"], {"annotations/instances_train2017.json": COCO}, "coco"),
        (["train/images/1.jpg", "valid/images/2.jpg"], {"train/labels/1.txt": BOX, "valid/labels/2.txt": BOX}, "yolo"),
        (["train/1.jpg", "train/1_mask.png", "val/2.jpg", "val/2_mask.png"], {}, "mask-folders"),
    ],
)
def test_folders_of_parts_images_and_labels_are_not_taken_for_classes(
    photos: list[str], files: dict[str, str], name: str, tmp_path: Path
) -> None:
    layout = layouts.detect(folder(tmp_path, photos, files), task="classification")
    assert layout.name == name
    with pytest.raises(UserError, match="has no class for each photo"):
        layout.read("classification")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (table("label", "a", "a", "b", "b"), "tables"),
        (table("split,class_id", "train,0", "train,1", "val,0", "val,1"), "tables"),
        (table("good,bad", "1,0", "0,1", "0,1", "1,0"), "tables"),
        (table("x", "cat", "cat", "dog", "dog"), "tables"),
        (table("md5", "a3", "0f", "77", "b2"), "class-folders"),
        (table("width,height,size", "4,9,7", "4,9,6", "5,9,7", "5,8,7"), "class-folders"),
        (table("licence", *["CC BY"] * 4), "class-folders"),
        ("Photos of Ann\nsee https://x, cat/1.jpg\n", "class-folders"),
    ],
)
def test_a_table_next_to_class_folders_is_used_if_it_has_labels(content: str, name: str, tmp_path: Path) -> None:
    assert layouts.detect(folder(tmp_path, CLASSES, {"a.csv": content}), task="classification").name == name


@pytest.mark.parametrize(
    "content",
    [
        table("photographer", "Ann", "Bob", "Ann", "Bob"),
        "".join(
            f"{photo},{photographer}\n"
            for photo, photographer in zip(CLASSES, ("Ann", "Bob", "Ann", "Bob"), strict=True)
        ),
    ],
)
def test_a_table_next_to_class_folders_that_may_have_labels_is_rejected(content: str, tmp_path: Path) -> None:
    folder(tmp_path, CLASSES, {"metadata.csv": content})
    with pytest.raises(
        UserError, match=r"has both tables \(metadata.csv .*\) and class folders \(cat, dog\).* --layout class-folders$"
    ):
        layouts.detect(tmp_path, task="classification")
    assert layouts.detect(tmp_path, "class-folders", "classification").name == "class-folders"


@pytest.mark.parametrize(
    ("photos", "files", "how"),
    [
        (["images/great_dane_1.jpg"], {}, "it has images/great_dane_1.jpg"),
        (IMAGES, {"annotations/trimaps/1.png": ""}, "it has annotations/trimaps"),
        (IMAGES, {"annotations/test.txt": ""}, "it has annotations/test.txt"),
    ],
)
def test_the_pet_data_set_is_recognised_by_its_file_names(
    photos: list[str], files: dict[str, str], how: str, tmp_path: Path
) -> None:
    assert str(layouts.detect(folder(tmp_path, photos, files))) == f"{tmp_path} is read as pets: {how}"


@pytest.mark.parametrize(
    ("photos", "files", "message"),
    [
        ([], {}, " is empty: put photos .* supported layout: lists: "),
        ([], {"a.pdf": ""}, " has no photos, only files such as a.pdf, and is not in a supported layout: lists: "),
        (["1.jpg"], {}, " has 1 photo but no labels, or is not in a supported layout: lists: "),
        (
            IMAGES,
            {"a.csv": "file,x\np/0.png,a\np/1.png,b\n"},
            " has 3 .* layout .a.csv names .* file, but p/0.png is not",
        ),
        (
            IMAGES,
            {"a.csv": "7;p/0.png\n8;p/1.png\n"},
            " has 3 .*a.csv names photos in its column 2, but p/0.png is not",
        ),
        (
            IMAGES,
            {"a.jsonl": '{"at": "p/0.png", "x": "a"}'},
            " has 3 .*a.jsonl names photos in its column at, but p/0.png",
        ),
        (IMAGES, {"annotations/readme.md": ""}, " has 3 photos but no labels, or is not in a"),
        (IMAGES, {"labels/1.txt": "", "labels/2.txt": ""}, " has 3 photos but no labels.*; yolo: YOLO's"),
    ],
)
def test_a_folder_in_an_unknown_layout_is_rejected_with_its_contents(
    photos: list[str], files: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"^{tmp_path}{message}"):
        layouts.detect(folder(tmp_path, photos, files), task="detection")


def test_multi_label_photos_with_only_one_label_are_rejected(tmp_path: Path) -> None:
    lines = '{"path": "images/1.jpg", "tags": ["cat"]}\n{"path": "images/2.jpg", "tags": []}\n'
    layout = layouts.detect(folder(tmp_path, IMAGES, {"a.jsonl": lines}), task="classification")
    with pytest.raises(UserError, match=r"cat is the only label, .* such as no cat$"):
        layout.read("classification")


def test_a_table_of_other_photos_is_mentioned_if_there_are_no_classes(tmp_path: Path) -> None:
    layout = layouts.detect(
        folder(tmp_path, ["p/1.jpg"], {"a.csv": "file,x\no/a.png,u\no/b.png,v\n"}), task="classification"
    )
    with pytest.raises(
        UserError, match=r"has only one class folder, p/: .*; a.csv names photos in its column file, but o/a.p"
    ):
        layout.read("classification")
