"""The lists of the official pet layout: what is read, what is rejected, and how the classes are numbered."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.datasets.layouts.pets import lists as pets
from local.datasets.layouts.pets import reader
from local.datasets.layouts.pets.lists import Pet
from local.errors import UserError

NAMES = st.from_regex(r"[A-Za-z][A-Za-z_]{0,12}_[1-9][0-9]{0,3}", fullmatch=True)
PETS = st.builds(Pet, name=NAMES, class_id=st.integers(1, 99), species=st.sampled_from(["cat", "dog"]))


def layout(root: Path, trainval: str, test: str) -> Path:
    (root / "images").mkdir()
    (root / "annotations").mkdir()
    (root / "annotations" / "trainval.txt").write_text(trainval)
    (root / "annotations" / "test.txt").write_text(test)
    return root


@given(
    st.lists(PETS, unique_by=lambda pet: pet.name),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "# note", " "]),
)
def test_a_list_is_read_with_any_line_endings_comments_and_blank_lines(photos: list[Pet], end: str, noise: str) -> None:
    lines = [f"{pet.name} {pet.class_id} {1 if pet.species == 'cat' else 2} 7" for pet in photos]
    text = end.join(line for pair in zip([noise] * len(lines), lines, strict=True) for line in pair)
    assert pets.parse(text, "list.txt") == tuple(photos)


@given(st.text(alphabet="ab_1 0\t\n#-²/", max_size=60))
def test_any_text_is_read_or_rejected_with_its_line(text: str) -> None:
    try:
        listed_pets = pets.parse(text, "list.txt")
    except UserError as error:
        assert str(error).startswith("list.txt line ")  # noqa: PT017 - either outcome is right
    else:
        assert all(pet.breed and pet.class_id > 0 for pet in listed_pets)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Bengal_1 6 1", "3 fields, expected 4"),
        ("Bengal_1 6 3 1", "SPECIES is 3, expected 1 (cat) or 2 (dog)"),
        ("Bengal_1 six 1 1", "whole numbers from 1"),
        ("Bengal_1 0 1 1", "whole numbers from 1"),
        ("Bengal 6 1 1", "must be breed_number"),
        ("../../etc_1 6 1 1", "without a folder"),
    ],
)
def test_a_bad_line_is_rejected_with_file_line_and_reason(line: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        pets.parse(f"Bengal_2 6 1 1\n{line}\n", "test.txt")
    assert str(caught.value).startswith("test.txt line 2 is ")
    assert reason in str(caught.value)


def test_a_photo_named_twice_in_a_list_is_rejected() -> None:
    with pytest.raises(UserError, match=r"line 2 names Bengal_1 again"):
        pets.parse("Bengal_1 6 1 1\nBengal_1 6 1 1\n", "test.txt")


@pytest.mark.parametrize(
    ("trainval", "test", "reason"),
    [
        ("Bengal_1 6 1 1", "Bengal_1 6 1 1", "Bengal_1, which is also in trainval.txt"),
        ("Bengal_1 6 1 1", "pug_1 6 2 1", "class number 6 is Bengal"),
        ("Bengal_1 6 1 1", "Bengal_2 7 1 1", "Bengal has class number 6, but 7 for Bengal_2"),
        ("", "Bengal_2 7 1 1", "lists no photos"),
    ],
)
def test_contradictory_lists_are_rejected(tmp_path: Path, trainval: str, test: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        pets.read(layout(tmp_path, trainval, test))
    assert reason in str(caught.value)


def test_a_folder_without_the_layout_is_rejected_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"images does not exist: give the folder that holds images/"):
        pets.read(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"trainval.txt does not exist: it is in annotations.tar.gz"):
        pets.read(tmp_path)


def test_labels_of_a_subset_have_no_gaps_and_keep_the_order_of_class_numbers() -> None:
    photos = [Pet("Bengal_1", 6, "cat"), Pet("Abyssinian_1", 1, "cat"), Pet("american_bulldog_1", 2, "dog")]
    assert pets.class_names(photos, "breed") == ("Abyssinian", "american_bulldog", "Bengal")
    assert pets.class_names(photos, "species") == ("cat", "dog")


def test_photos_in_no_list_are_used_if_their_breed_is_known(tmp_path: Path) -> None:
    root = layout(tmp_path, "Bengal_1 6 1 1", "Bengal_2 6 1 1")
    for name in ("Bengal_3.jpg", "unknown_1.jpg", "Bengal_4.mat", "._Bengal_5.jpg"):
        (root / "images" / name).touch()
    data = reader.classification(root)
    assert [(entry.name, entry.part) for entry in data.entries] == [
        ("Bengal_1", "train"),
        ("Bengal_2", "validation"),
        ("Bengal_3", ""),
    ]
    assert data.notes == {reader.STRAYS: ["._Bengal_5.jpg", "Bengal_4.mat"], reader.UNKNOWN: ["unknown_1.jpg"]}


def test_the_real_subset_is_read(pets: Path) -> None:
    data = reader.classification(pets)
    assert (len(data.part("train")), len(data.part("validation"))) == (300, 208)
    assert data.class_names == ("Abyssinian", "american_bulldog", "Bengal")
