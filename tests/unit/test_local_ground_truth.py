"""Manifests of SageMaker Ground Truth: how they are read, what is left out and listed, and what is rejected."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from local.algorithms.object_detection import Truth
from local.datasets import layouts
from local.datasets.dataset import Annotation, DataSet, LabelledBox
from local.datasets.layouts.ground_truth import reader as ground_truth
from local.datasets.layouts.pets import reader as pet_data
from local.datasets.notes import MISSING, RENUMBERED, SEVERAL, UNLISTED
from local.errors import UserError
from tests.unit import layouts as prepared
from tests.unit.layouts import notes
from tests.unit.official import HEAD, as_stored, encode, exif_rotated, picture

S3 = "s3://bucket/Fotos, unsortiert"
CLASSIFIED, MULTI = "groundtruth/image-classification", "groundtruth/image-classification-multilabel"
BOXES, MASKS = "groundtruth/object-detection", "groundtruth/semantic-segmentation"
COLOURS = {"pet": "#2acf59", "BACKGROUND": "#ffffff", "border": "#f28333"}
Line = dict[str, Any]


# --- lines as Ground Truth writes them --------------------------------------------------------------------------------


def job(kind: str, **metadata: object) -> dict[str, object]:
    common = {
        "type": kind,
        "human-annotated": "yes",
        "creation-date": "2020-02-27T21:36:25",
        "job-name": "labeling-job/j",
    }
    return common | {key.replace("_", "-"): value for key, value in metadata.items()}


def about(photo: str, **labels: object) -> Line:
    return {"source-ref": f"{S3}/{photo}", **{key.replace("_", "-"): value for key, value in labels.items()}}


def single(photo: str, number: object, name: str) -> Line:
    return about(photo, species=number, species_metadata=job(CLASSIFIED, class_name=name, confidence=0.8))


def several(photo: str, names: Mapping[int, str]) -> Line:
    metadata = job(MULTI, class_map={str(key): name for key, name in names.items()}, confidence_map={})
    return about(photo, tags=[*names], tags_metadata=metadata)


def box(number: object, left: float, top: float, width: float, height: float) -> dict[str, object]:
    return {"class_id": number, "left": left, "top": top, "width": width, "height": height}


def boxed(photo: str, names: Mapping[int, str], *boxes: object, size: tuple[object, object] = (64, 48)) -> Line:
    value = {"image_size": [{"width": size[0], "height": size[1], "depth": 3}], "annotations": [*boxes]}
    names_by_key = {str(key): name for key, name in names.items()}
    return about(photo, bb=value, bb_metadata=job(BOXES, class_map=names_by_key, objects=[{"confidence": 0.09}]))


def masked(photo: str, mask: str, names: Mapping[int, str]) -> Line:
    table = {
        str(key): {"class-name": name, "hex-color": COLOURS[name], "confidence": 0.9} for key, name in names.items()
    }
    ref = f"s3://bucket/out/annotations/consolidated-annotation/output/{mask}"
    return about(photo, street_ref=ref, street_ref_metadata=job(MASKS, internal_color_map=table))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return `write(line, ..., to=...)`, which writes a manifest and a photo per line, and returns their folder."""

    def write_manifest(*lines: Line | str, to: str = "output.manifest", photos: bool = True) -> Path:
        file = tmp_path / to
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8"
        )
        for line in lines if photos else ():
            if isinstance(line, dict) and isinstance(line.get("source-ref"), str):
                (tmp_path / line["source-ref"].rpartition("/")[2]).write_bytes(encode(picture()))
        return tmp_path

    return write_manifest


def targets(data: DataSet[Any]) -> dict[str, Any]:
    """Return the target of each photo by file name."""
    return {entry.path.name: entry.target for entry in data.entries}


# --- classes ----------------------------------------------------------------------------------------------------------


def test_the_metadata_of_a_line_names_its_label(write: Callable[..., Path]) -> None:
    data = ground_truth.classification(write(single("1.jpg", 1, "dog"), single("2.jpg", "0", " bird  of\tprey "), ""))
    assert targets(data) == {"1.jpg": ("dog",), "2.jpg": ("bird of prey",)}
    assert (data.class_names, data.multi_label, notes(data)) == (("bird of prey", "dog"), False, {})
    assert [entry.group for entry in data.entries] == ["dog", "bird of prey"]


def test_labels_are_renumbered_without_gaps_in_the_order_of_their_numbers(write: Callable[..., Path]) -> None:
    data = ground_truth.classification(
        write(single("1.jpg", 7, "ant"), single("2.jpg", 10, "cow"), single("3.jpg", 0, "dog"))
    )
    assert data.class_names == ("dog", "ant", "cow")
    assert notes(data) == {RENUMBERED: ["7 is now 1", "10 is now 2"]}


def test_lists_hold_class_numbers_as_in_ground_truth(write: Callable[..., Path]) -> None:
    lines = several("1.jpg", {1: "bicycle", 0: "person"}), several("2.jpg", {}), several("3.jpg", {0: "person"})
    data = ground_truth.classification(write(*lines))
    assert targets(data) == {"1.jpg": ("person", "bicycle"), "2.jpg": (), "3.jpg": ("person",)}
    assert (data.class_names, data.multi_label, notes(data)) == (("person", "bicycle"), True, {})
    assert [entry.group for entry in data.entries] == ["bicycle", "", "person"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[1, 0, 1], [0, 0, 1]], [("0", "2"), ("2",)]),
        (["[1, 0, 1]", "[0, 1, 0]"], [("0", "2"), ("1",)]),
        ([[0, 1], [1, 0]], [("1",), ("0",)]),
        ([[0, 2], [2]], [("0", "2"), ("2",)]),
        ([[0], [1]], [("0",), ("1",)]),
        ([[1, 2], [2, 1]], [("1", "2"), ("1", "2")]),
    ],
)
def test_lists_without_metadata_hold_class_numbers_or_zeros_and_ones(
    values: list[object], expected: list[tuple[str, ...]], write: Callable[..., Path]
) -> None:
    data = ground_truth.classification(
        write(*(about(f"{place}.jpg", tags=value) for place, value in enumerate(values)))
    )
    assert [entry.target for entry in data.entries] == expected
    is_multi_hot = "lists read as a 0 or 1 for each class" in notes(data)
    assert is_multi_hot == (values in ([[1, 0, 1], [0, 0, 1]], ["[1, 0, 1]", "[0, 1, 0]"], [[0, 1], [1, 0]]))


def test_a_list_of_0_and_1_holds_class_numbers_if_the_classes_have_names(write: Callable[..., Path]) -> None:
    names = {0: "cat", 1: "dog"}
    data = ground_truth.classification(write(several("1.jpg", names), several("2.jpg", {1: "dog", 0: "cat"})))
    assert {*targets(data).values()} == {("cat", "dog")}


def test_classes_without_metadata_are_named_by_their_numbers(write: Callable[..., Path]) -> None:
    lines = [{"image-ref": f"{S3}/{name}.jpg", "class": label} for name, label in (("1", "3"), ("2", 0))]
    data = ground_truth.classification(write(*lines, *({"source-ref": f"{S3}/{name}.jpg"} for name in "12")))
    assert (targets(data), data.class_names) == ({"1.jpg": ("3",), "2.jpg": ("0",)}, ("0", "3"))


# --- boxes ------------------------------------------------------------------------------------------------------------


def test_boxes_are_in_pixels_and_an_empty_list_is_a_photo_without_objects(write: Callable[..., Path]) -> None:
    lines = [
        boxed("1.jpg", {0: "dog", 5: "bone"}, box(0, 10, 5, 20, 15), box("5", 8.5, 0, 2, 3.25)),
        boxed("2.jpg", {}, size=(64.0, 48)),
    ]
    data = ground_truth.detection(write(*lines))
    assert targets(data) == {
        "1.jpg": Annotation(
            "output.manifest line 1",
            (LabelledBox("dog", (10, 5, 30, 20)), LabelledBox("bone", (8.5, 0, 10.5, 3.25))),
            (64, 48),
        ),
        "2.jpg": Annotation("output.manifest line 2", (), (64, 48)),
    }
    assert data.class_names == ("dog", "bone")
    assert [entry.group for entry in data.entries] == ["bone", ""]


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("size_of", ["stored", "upright"])
def test_image_size_decides_whether_boxes_refer_to_the_stored_or_the_upright_photo(
    orientation: int, size_of: str, write: Callable[..., Path], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Upside down, both sizes are equal and the boxes refer to the stored photo."""
    out = tmp_path_factory.mktemp("out")
    red = Image.new("L", (64, 48))
    red.paste(255, HEAD)
    annotated = red if size_of == "upright" and orientation > 4 else as_stored(red, orientation)
    left, top, right, bottom = annotated.getbbox() or (0, 0, 0, 0)
    line = boxed("1.jpg", {0: "head"}, box(0, left, top, right - left, bottom - top), size=annotated.size)
    write(line, to="train.manifest")
    write(boxed("2.jpg", {0: "head"}, box(0, 1, 2, 3, 4)), to="validation.manifest")
    (tmp_path / "1.jpg").write_bytes(exif_rotated(picture(), orientation))
    truths = prepared.prepare("object-detection", tmp_path, out / "channels").truths.values()
    assert [*truths] == [Truth((64, 48), ((0, *HEAD),)), Truth((64, 48), ((0, 1, 2, 4, 6),))]


# --- masks ------------------------------------------------------------------------------------------------------------


def save_mask(labels: np.ndarray, names: Mapping[int, str], path: Path, form: str) -> None:
    """Save a mask as an RGB image, or as a palette image whose colours are consecutive, as in Ground Truth."""
    image = Image.fromarray(labels, "L")
    image.putpalette([value for name in names.values() for value in bytes.fromhex(COLOURS[name][1:])] + [255] * 3)
    if form == "colours":
        table = np.array([bytes.fromhex(COLOURS[names.get(number, "pet")][1:]) for number in range(256)])
        image = Image.fromarray(np.array([[*colour] for colour in table], np.uint8)[labels])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.mark.parametrize("form", ["palette", "colours"])
def test_internal_color_map_names_the_classes_of_a_mask(form: str, write: Callable[..., Path], tmp_path: Path) -> None:
    names = {0: "BACKGROUND", 1: "pet", 2: "border"}
    labels = np.arange(64 * 48, dtype=np.uint8).reshape(48, 64) % 3
    save_mask(labels, names, tmp_path / "masks" / "0_2020-04-21T13_48_00.png", form)
    data = ground_truth.segmentation(write(masked("1.jpg", "0_2020-04-21T13:48:00.png", names)))
    (entry,) = data.entries
    assert np.array_equal(entry.target.read().pixels, labels)
    assert entry.target.source == "masks/0_2020-04-21T13_48_00.png"
    assert data.class_names == ("BACKGROUND", "pet", "border")


def test_each_line_names_the_classes_of_its_mask(write: Callable[..., Path], tmp_path: Path) -> None:
    for name, names in (("a.png", {0: "BACKGROUND", 4: "pet"}), ("b.png", {0: "BACKGROUND", 2: "border"})):
        labels = np.zeros((48, 64), np.uint8)
        labels[:9] = max(names)
        save_mask(labels, names, tmp_path / name, "colours")
    lines = (
        masked("1.jpg", "a.png", {0: "BACKGROUND", 4: "pet"}),
        masked("2.jpg", "b.png", {0: "BACKGROUND", 2: "border"}),
    )
    data = ground_truth.segmentation(write(*lines))
    assert data.class_names == ("BACKGROUND", "border", "pet")
    assert [entry.target.read().pixels[0, 0] for entry in data.entries] == [2, 1]
    assert [entry.group for entry in data.entries] == ["pet", "border"]


def test_classes_of_masks_without_metadata_are_named_by_their_numbers(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    for name, number in (("a.png", 3), ("b.png", 255)):
        pixels = np.full((48, 64), 1, np.uint8)
        pixels[0] = number
        Image.fromarray(pixels, "L").save(tmp_path / name)
    lines = [about(f"{name}.jpg", mask_ref=f"s3://bucket/{name}.png") for name in "ab"]
    data = ground_truth.segmentation(write(*lines))
    assert (data.class_names, data.pixels) == (("1", "3"), (1, 3))
    assert [entry.target.read().pixels[0, 0] for entry in data.entries] == [3, 255]


def test_a_photo_without_its_mask_is_left_out_and_listed(write: Callable[..., Path], tmp_path: Path) -> None:
    save_mask(np.zeros((48, 64), np.uint8), {0: "pet"}, tmp_path / "a.png", "palette")
    data = ground_truth.segmentation(write(*(masked(f"{name}.jpg", f"{name}.png", {0: "pet"}) for name in "ab")))
    assert targets(data).keys() == {"a.jpg"}
    assert notes(data) == {MISSING: ["s3://bucket/out/annotations/consolidated-annotation/output/b.png"]}


# --- several jobs, lines without labels -------------------------------------------------------------------------------


def test_the_job_that_fits_the_task_is_used_and_verification_jobs_are_ignored(write: Callable[..., Path]) -> None:
    line = single("1.jpg", 0, "dog") | boxed("1.jpg", {3: "bone"}, box(3, 1, 2, 3, 4))
    line |= about("1.jpg", verify="1", verify_metadata=job("groundtruth/label-verification", class_name="bad"))
    root = write(line)
    assert targets(ground_truth.classification(root)) == {"1.jpg": ("dog",)}
    assert ground_truth.detection(root).class_names == ("bone",)
    with pytest.raises(UserError) as caught:
        ground_truth.segmentation(root)
    assert str(caught.value).startswith(f"{root}: its manifests have species ({CLASSIFIED}), bb ({BOXES}), and segment")


def test_the_last_job_of_a_chain_is_used_and_the_others_are_listed(write: Callable[..., Path]) -> None:
    original = boxed("1.jpg", {0: "dog"}, box(0, 1, 1, 3, 3))
    adjusted = {f"adjusted-{key}": value for key, value in boxed("1.jpg", {0: "dog"}, box(0, 2, 2, 3, 3)).items()}
    adjusted.pop("adjusted-source-ref")
    data = ground_truth.detection(write(original | adjusted, boxed("2.jpg", {0: "dog"}, box(0, 4, 4, 3, 3))))
    assert [annotation.objects[0].box[0] for annotation in targets(data).values()] == [2, 4]
    assert notes(data) == {"labels with a later label in the same line, not used": ["bb"]}


def test_the_metadata_of_a_mask_may_be_named_without_ref(write: Callable[..., Path], tmp_path: Path) -> None:
    save_mask(np.zeros((48, 64), np.uint8), {0: "pet"}, tmp_path / "a.png", "palette")
    line = masked("1.jpg", "a.png", {0: "pet"})
    line["street-metadata"] = line.pop("street-ref-metadata")
    assert targets(ground_truth.segmentation(write(line))).keys() == {"1.jpg"}


def test_lines_without_a_label_are_left_out_with_the_failure_reason_of_their_job(write: Callable[..., Path]) -> None:
    failed = {"retry-count": 1, "failure-reason": "ClientError: no\nanswer", "human-annotated": "true"}
    lines = (
        single("1.jpg", 0, "dog"),
        about("2.jpg"),
        about("3.jpg", species_metadata=failed),
        single("4.jpg", 1, "cat"),
    )
    data = ground_truth.classification(write(*lines))
    assert targets(data) == {"1.jpg": ("dog",), "4.jpg": ("cat",)}
    assert notes(data) == {"photos without a label, left out": ["2.jpg", "3.jpg (ClientError: no answer)"]}


def test_the_later_of_two_lines_for_a_photo_is_used(write: Callable[..., Path]) -> None:
    lines = single("1.jpg", 0, "dog"), single("2.jpg", 0, "dog"), single("1.jpg", 1, "cat"), about("1.jpg")
    data = ground_truth.classification(write(*lines))
    assert targets(data) == {"2.jpg": ("dog",), "1.jpg": ("cat",)}
    assert notes(data)["photos listed in several lines, last label used"] == ["1.jpg, output.manifest line 1"]


# --- several manifests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("train.manifest", "validation.manifest"),
        ("a/train/output.manifest", "a/valid/output.manifest"),
        ("my_training.json", "my-val.jsonl"),
        ("train-labeling/manifests/output/output.manifest", "validation-labeling/manifests/output/output.manifest"),
    ],
)
def test_two_manifests_are_the_split_and_a_test_manifest_is_left_out(
    train: str, validation: str, write: Callable[..., Path]
) -> None:
    write(single("1.jpg", 0, "dog"), to=train)
    write(single("3.jpg", 2, "cow"), to="test.manifest")
    data = ground_truth.classification(write(single("2.jpg", 1, "cat"), to=validation))
    assert {entry.path.name: entry.part for entry in data.entries} == {"1.jpg": "train", "2.jpg": "validation"}
    assert (data.has_split, data.class_names) == (True, ("dog", "cat"))
    assert notes(data) == {"photos of a test part, left out": ["3.jpg"]}


def test_a_labelling_job_with_test_in_its_name_is_not_a_test_part(write: Callable[..., Path]) -> None:
    data = ground_truth.classification(write(single("1.jpg", 0, "dog"), to="test-job/manifests/output/output.manifest"))
    assert [entry.part for entry in data.entries] == [""]


def test_only_the_output_manifest_in_the_folder_of_a_job_is_read(write: Callable[..., Path]) -> None:
    for intermediate in ("annotations/intermediate/1/annotations.manifest", "manifests/intermediate/1/output.manifest"):
        write(single("1.jpg", 9, "wrong"), to=f"job/{intermediate}")
    write('[{"workerId": "w", "answers": []}]', to="job/annotations/worker-response/iteration-1/0/a.json")
    data = ground_truth.classification(write(single("1.jpg", 0, "dog"), to="job/manifests/output/output.manifest"))
    assert targets(data) == {"1.jpg": ("dog",)}


def test_the_input_manifest_of_a_job_is_listed_and_left_out(write: Callable[..., Path]) -> None:
    write(about("1.jpg"), about("2.jpg"), to="dataset-2020.manifest")
    data = ground_truth.classification(write(single("1.jpg", 0, "dog"), single("2.jpg", 1, "cat")))
    assert len(data.entries) == 2
    assert notes(data) == {"manifests without labels, left out": ["dataset-2020.manifest"]}


def test_a_photo_with_labels_in_two_manifests_is_rejected_with_both_lines(write: Callable[..., Path]) -> None:
    write(single("1.jpg", 0, "dog"), to="train.manifest")
    root = write(single("2.jpg", 0, "dog"), single("1.jpg", 0, "dog"), to="validation.manifest")
    with pytest.raises(UserError, match=r"^train.manifest line 1 and validation.manifest line 2 both label s3://"):
        ground_truth.classification(root)


# --- photos -----------------------------------------------------------------------------------------------------------


def test_photos_in_no_manifest_are_listed_and_masks_are_not(write: Callable[..., Path], tmp_path: Path) -> None:
    write(*(single(f"{number}.jpg", 0, "dog") for number in range(3)))
    for name in ("new.jpg", "test/7.jpg", "annotations/0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    data = ground_truth.classification(tmp_path)
    assert notes(data) == {UNLISTED: ["new.jpg"], "photos of a test part, left out": ["test/7.jpg"]}


def test_missing_photos_are_listed_and_left_out(write: Callable[..., Path], tmp_path: Path) -> None:
    write(*(single(f"{number}.jpg", 0, "dog") for number in range(4)))
    (tmp_path / "2.jpg").unlink()
    data = ground_truth.classification(tmp_path)
    assert [*targets(data)] == ["0.jpg", "1.jpg", "3.jpg"]
    assert notes(data) == {MISSING: [f"{S3}/2.jpg"]}


def test_ambiguous_photos_are_listed_and_left_out(write: Callable[..., Path], tmp_path: Path) -> None:
    write(single("1.jpg", 0, "dog"), single("2.jpg", 0, "dog"))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(b"")
    (tmp_path / "1.jpg").unlink()
    data = ground_truth.classification(tmp_path)
    assert [*targets(data)] == ["2.jpg"]
    assert notes(data) == {SEVERAL: [f"{S3}/1.jpg may be a/1.jpg or b/1.jpg"]}


def test_if_all_photos_are_missing_the_error_has_the_command_that_downloads_them(write: Callable[..., Path]) -> None:
    lines = [{**single("", 0, "dog"), "source-ref": f"s3://bucket/my set/{name}"} for name in ("a/1.jpg", "b/c/2.jpg")]
    root = write(*lines, photos=False)
    with pytest.raises(UserError) as caught:
        ground_truth.classification(root)
    assert str(caught.value) == (
        f"{root} has no photo from its manifests, such as s3://bucket/my set/a/1.jpg: "
        f"aws s3 cp --recursive 's3://bucket/my set/' {root}"
    )


# --- invalid manifests ------------------------------------------------------------------------------------------------

WHERE = "output.manifest line 1"


@pytest.mark.parametrize(
    ("task", "lines", "message"),
    [
        (
            "classification",
            [single("1.jpg", 1, "dog"), single("2.jpg", 1, "cat")],
            "output.manifest line 2 calls class 1 'cat' and output.manifest line 1 calls it 'dog'",
        ),
        ("classification", [about("1.jpg", a=1, b=2)], "its manifests have a, b, and classification needs"),
        ("classification", [about("1.jpg")], "its manifests have no labels, and classification needs"),
        ("classification", [several("1.jpg", {})], "no line of its manifests has a class"),
        (
            "classification",
            [about("1.jpg", a=[1, 1, 0]), about("2.jpg", a=[1, 0])],
            f"{WHERE} names a class twice, [1, 1, 0]",
        ),
        ("classification", [single("1.jpg", 1.5, "dog")], f"{WHERE} has a species of 1.5"),
        ("classification", [single("1.jpg", -1, "dog")], f"{WHERE} has a species of -1"),
        ("classification", [single("1.jpg", True, "dog")], f"{WHERE} has a species of true"),
        ("classification", [single("1.jpg", "[" * 9999, "dog")], f"{WHERE} has a species of"),
        ("classification", [single("1.jpg", 1, " ")], f'{WHERE} names a class " "'),
        ("classification", [single("1.jpg", 1, "\x1b[31m")], f"{WHERE} names a class"),
        (
            "classification",
            [about("1.jpg", a=[0], a_metadata=job(MULTI, class_map=["dog"]))],
            f'{WHERE} has a class-map of ["dog"]',
        ),
        (
            "classification",
            [about("1.jpg", a=[0], a_metadata=job(MULTI, class_map={"dog": "dog"}))],
            f'{WHERE} has a class-map with the key "dog"',
        ),
        ("detection", [boxed("1.jpg", {}, size=(0, 48))], f"{WHERE} has an image_size of 0 x 48"),
        ("detection", [boxed("1.jpg", {}, size=("64", 48))], f"{WHERE} has \"64\" as 'width' of"),
        ("detection", [about("1.jpg", bb={"annotations": []})], f"{WHERE} has null as 'width' of"),
        (
            "detection",
            [boxed("1.jpg", {}, box(0, float("nan"), 0, 1, 1))],
            f"{WHERE} has NaN as 'left' of a box: expected a number",
        ),
        ("detection", [boxed("1.jpg", {}, box(0, 10**400, 0, 1, 1))], f"{WHERE} has 10000"),
        ("detection", [boxed("1.jpg", {}, box(None, 1, 0, 1, 1))], f"{WHERE} has a box with a class_id of null"),
        ("detection", [boxed("1.jpg", {}, [0, 1, 2, 3])], f"{WHERE} has null as 'left' of a box: expected a number"),
        (
            "segmentation",
            [about("1.jpg", a_ref="/", a_ref_metadata=job(MASKS))],
            f'{WHERE} has "/" as a-ref: expected the URI of a PNG',
        ),
        (
            "segmentation",
            [
                about(
                    "1.jpg",
                    a_ref="a.png",
                    a_ref_metadata=job(MASKS, internal_color_map={"0": {"class-name": "x", "hex-color": "red"}}),
                )
            ],
            f'{WHERE} has a hex-color of "red"',
        ),
        (
            "segmentation",
            [about("1.jpg", a_ref="a.png", a_ref_metadata=job(MASKS, internal_color_map={"0": {}}))],
            f"{WHERE} names a class null",
        ),
        (
            "detection",
            ['{"source": "a text", "mood": 1, "mood-metadata": {}}'],
            f'{WHERE} has a "source", which is text',
        ),
        (
            "detection",
            [about("1.json", car_ref="x/SeqLabel.json", car_ref_metadata=job("groundtruth/video-object-detection"))],
            f"{WHERE} is from a job of the type groundtruth/video-object-detection",
        ),
        (
            "detection",
            [{"source-ref": f"{S3}/frames/seq.json"}],
            f"{WHERE} is about {S3}/frames/seq.json, which is not a photo",
        ),
        (
            "detection",
            [about("1.jpg"), "{", '{"source-ref": 5}', "[]"],
            "output.manifest line 2 is not JSON (Expecting",
        ),
        ("detection", ["not json"], "has no manifest: put a file *.manifest"),
    ],
)
def test_invalid_manifests_are_rejected_with_the_line_the_value_and_the_fix(
    task: str, lines: list[Line | str], message: str, write: Callable[..., Path]
) -> None:
    root = write(*lines)
    with pytest.raises(UserError) as caught:
        getattr(ground_truth, task)(root)
    assert str(caught.value).removeprefix(f"{root}").lstrip(": ").startswith(message)


def test_a_few_bad_lines_are_listed_and_left_out(write: Callable[..., Path]) -> None:
    good = [single(f"{number}.jpg", 0, "dog") for number in range(3)]
    data = ground_truth.classification(write(*good, "{", single("4.jpg", None, "dog"), single("5.jpg", "no", "dog")))
    assert len(data.entries) == 3
    assert [note.partition(": ")[0] for note in notes(data)["photos whose annotations cannot be used, skipped"]] == [
        "output.manifest line 4 is not JSON (Expecting property name enclosed in double quotes in column 2)",
        'output.manifest line 6 has a species of "no"',
    ]


def test_a_manifest_that_is_not_utf_8_is_rejected_by_name(write: Callable[..., Path], tmp_path: Path) -> None:
    root = write(single("1.jpg", 0, "dog"))
    with (tmp_path / "output.manifest").open("ab") as file:
        file.write(b"\xff")
    with pytest.raises(UserError, match=r"output.manifest, line 2 is not UTF-8 \(invalid start byte"):
        ground_truth.classification(root)


# --- recognition ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["output.manifest", "x/Labels.JSONL", "images/train.json"])
def test_a_manifest_is_recognised_by_its_first_line(name: str, write: Callable[..., Path], tmp_path: Path) -> None:
    write("\ufeff" + json.dumps(about("1.jpg")), to=name)
    layout = layouts.detect(tmp_path)
    assert (layout.name, layout.reason) == ("ground-truth", f"{name} is a SageMaker manifest")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", '{"source-ref": "s3://b/1.jpg"}'),
        ("a.json", '{"images": [], "annotations": [], "source": "x"}'),
        ("a.jsonl", '{"path": "1.jpg", "label": 0}'),
        ("a.json", '[{"source-ref": "s3://b/1.jpg"}]'),
        ("a.json", '{"source-ref": 5}'),
        ("a.json", '{"x": "' + "source" * 100_000),
        ("a.manifest", "\udcff"),
        ("a.manifest", ""),
        (".a.manifest", '{"source-ref": "s3://b/1.jpg"}'),
    ],
)
def test_other_files_are_not_taken_for_manifests(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode(errors="surrogateescape"))
    assert ground_truth.recognise(tmp_path) is None


def test_a_folder_with_an_annotation_file_per_photo_is_not_taken_for_manifests(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.json").write_text('{"source-ref": "s3://b/1.jpg"}')
    assert ground_truth.recognise(tmp_path) is None


# --- arbitrary text ---------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-3, 3) | st.text(max_size=3) | st.sampled_from(["0", "[0]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["0", "1", "image_size", "annotations", "width", "class_id", "left"]), inner)
    ),
    max_leaves=8,
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([CLASSIFIED, MULTI, BOXES, MASKS]) | JSON,
        "class-name": st.text(max_size=3) | JSON,
        "class-map": st.dictionaries(st.sampled_from(["0", "1", "x"]), st.text(max_size=2) | JSON, max_size=2) | JSON,
        "internal-color-map": JSON,
        "failure-reason": JSON,
    },
)
LINES = st.lists(
    st.fixed_dictionaries(
        {"source-ref": st.sampled_from([f"{S3}/a.jpg", f"{S3}/b.jpg", "b.jpg"]) | JSON},
        optional={"x": JSON, "x-ref": JSON, "x-metadata": METADATA | JSON, "source": JSON},
    ).map(json.dumps)
    | st.text(max_size=20),
    max_size=4,
)


@pytest.fixture(scope="module")
def two_photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("any")
    for name in ("a.jpg", "b.jpg", "a.png"):
        (root / name).touch()
    return root


@given(LINES)
@example(['{"source-ref": "\\ud800.jpg", "x": 0}'])
@example([json.dumps({"source-ref": "a.jpg", "x-ref": "a.png"})])
def test_any_lines_are_read_or_rejected(two_photos: Path, lines: list[str]) -> None:
    (two_photos / "a.manifest").write_bytes("\n".join(lines).encode(errors="surrogatepass"))
    ground_truth.recognise(two_photos)
    for read in (ground_truth.classification, ground_truth.detection, ground_truth.segmentation):
        try:
            data: DataSet[Any] = read(two_photos)
        except UserError as error:
            str(error).encode()
            continue
        assert {entry.path.name for entry in data.entries} <= {"a.jpg", "b.jpg"}
        assert all(name and name == " ".join(name.split()) for name in data.class_names)
        "".join([*data.class_names, *(note for notes in data.notes.values() for note in notes)]).encode()


@given(st.lists(st.lists(st.tuples(st.integers(0, 4), *[st.integers(0, 60)] * 4), max_size=3), max_size=2))
def test_written_boxes_are_read_back(two_photos: Path, photos: list[list[tuple[int, ...]]]) -> None:
    names = {number: f"class {number}" for number in range(5)}
    lines = [
        boxed(f"{name}.jpg", names, *(box(*row) for row in boxes)) for name, boxes in zip("ab", photos, strict=False)
    ]
    (two_photos / "a.manifest").write_text("\n".join(map(json.dumps, lines)))
    if not lines:
        return
    data = ground_truth.detection(two_photos)
    assert data.class_names == tuple(names.values())
    assert [
        [(int(labelled_box.name[-1]), *labelled_box.box) for labelled_box in entry.target.objects]
        for entry in data.entries
    ] == [[(number, x, y, x + w, y + h) for number, x, y, w, h in boxes] for boxes in photos]


# --- data sets of pets ------------------------------------------------------------------------------------------------


def as_manifests(root: Path, out: Path) -> Path:
    """Write the pet data set at `root` as two manifests by its split, with the labels of a job for each task."""
    breeds, boxes, trimaps = (
        read(root) for read in (pet_data.classification, pet_data.detection, pet_data.segmentation)
    )
    numbers = {name: 3 * number + 2 for number, name in enumerate(breeds.class_names)}
    species = dict(enumerate(boxes.class_names))
    by_box, by_trimap = targets(boxes), targets(trimaps)
    trimap = {1: "pet", 2: "BACKGROUND", 3: "border"}
    lines: dict[str, list[Line]] = {"train": [], "validation": []}
    for place, entry in enumerate(breeds.entries):
        folder = out / "Fotos, unsortiert" / f"ü {place % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / entry.path.name).write_bytes(entry.path.read_bytes())
        photo = f"ü {place % 3}/{entry.path.name}"
        line = single(photo, numbers[entry.target[0]], entry.target[0])
        if entry.path.name in by_box:
            annotation = by_box[entry.path.name]
            edges = [
                (boxes.class_names.index(labelled_box.name), labelled_box.box) for labelled_box in annotation.objects
            ]
            marks = [box(number, x, y, right - x, bottom - y) for number, (x, y, right, bottom) in edges]
            line |= boxed(photo, species, *marks, size=annotation.size)
        if entry.path.name in by_trimap:
            mask = f"{place}_2020-04-21T13_48_00.png"
            pixels = by_trimap[entry.path.name].read().pixels
            save_mask(pixels, trimap, out / "masks" / mask, "colours" if place % 2 else "palette")
            line |= masked(photo, mask, trimap)
        lines[entry.part or "train"].append(line)
    for part, chosen in lines.items():
        (out / f"{part}.manifest").write_text("".join(json.dumps(line) + "\r\n" for line in chosen), "utf-8")
    return out


def compare(root: Path, out: Path, photos: int) -> None:
    """Assert that `prepare` gives the same for a pet data set and for its Ground Truth manifests."""
    data = as_manifests(root, out / "data")
    for name, options in (
        ("image-classification", ()),
        ("object-detection", ("--classes", "species")),
        ("semantic-segmentation", ("--classes", "pet")),
    ):
        expected = prepared.prepare(name, root, out / name / "pets", *options)
        actual = prepared.prepare(name, data, out / name / "truth")
        if name == "object-detection":  # boxes of the pet data set have no split
            assert len(actual.truths) == len(expected.truths)
        else:
            assert actual.channels == expected.channels
            assert len(actual.channels) == photos
        assert actual.truths.keys() == expected.truths.keys()
        for photo, truth in expected.truths.items():
            if name == "semantic-segmentation":
                assert np.array_equal(truth.mask, actual.truths[photo].mask)
            else:
                assert truth == actual.truths[photo]


def test_the_drawn_pets_keep_their_labels_boxes_and_masks_in_manifests(drawn: Path, tmp_path: Path) -> None:
    compare(drawn, tmp_path, photos=48)


def test_the_real_pets_keep_their_labels_boxes_and_masks_in_manifests(pets: Path, tmp_path: Path) -> None:
    """Use nine photos of each breed, stored with all EXIF orientations in turn."""
    real, marked = tmp_path / "pets", {file.stem for file in (pets / "annotations" / "xmls").iterdir()}
    annotated = [pet for pet in pet_data.read(pets).trainval if pet.name in marked]
    chosen = [
        pet
        for breed in sorted({pet.breed for pet in annotated})
        for pet in [pet for pet in annotated if pet.breed == breed][:9]
    ]
    for folder in ("images", "annotations/xmls", "annotations/trimaps"):
        (real / folder).mkdir(parents=True)
    for place, pet in enumerate(chosen):
        for file in (f"annotations/xmls/{pet.name}.xml", f"annotations/trimaps/{pet.name}.png"):
            (real / file).write_bytes((pets / file).read_bytes())
        with Image.open(pets / "images" / f"{pet.name}.jpg") as image:
            photo = exif_rotated(image.convert("RGB"), 1 + place % 8)
        (real / "images" / f"{pet.name}.jpg").write_bytes(photo)
    lines = [f"{pet.name} {pet.class_id} {1 if pet.species == 'cat' else 2} 1\n" for pet in chosen]
    (real / "annotations" / "trainval.txt").write_text("".join(lines[::2]))
    (real / "annotations" / "test.txt").write_text("".join(lines[1::2]))
    compare(real, tmp_path, photos=27)
