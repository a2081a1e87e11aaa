"""Files of two channels are paired by their base names, at any depth. Ambiguous pairs are rejected."""

import pytest

from train.data.pairs import match
from train.errors import UserError


def test_a_label_belongs_to_the_image_of_its_base_name_at_any_depth() -> None:
    pairs, unmatched = match(["x/a.png", "b.c.png"], ["a.JPG", "deep/er/b.c.jpeg", "d.jpg"], "")
    assert pairs == {"a.JPG": "x/a.png", "deep/er/b.c.jpeg": "b.c.png"}
    assert unmatched == []


def test_labels_without_an_image_are_returned_and_other_files_are_not_images() -> None:
    assert match(["a.png", "b.png"], ["a.mat", "b.txt", "b.gif"], "") == ({"b.gif": "b.png"}, ["a.png"])


@pytest.mark.parametrize("name", ["a.HEIC", "x/a.heif", "a.avif", "a.jxl", "a.jp2", "a.tga", "a.dng", "a.CR2", "a.svg"])
def test_an_image_in_an_unsupported_format_is_still_the_image_of_its_label(name: str) -> None:
    assert match(["a.png"], [name, "b.jpg"], "") == ({name: "a.png"}, [])


@pytest.mark.parametrize("readable", ["a.jpg", "a.JFIF", "y/a.jpe", "x/a.pgm"])
def test_an_image_that_also_exists_in_a_readable_format_is_read_from_that(readable: str) -> None:
    assert match(["a.png"], ["x/a.heic", readable], "") == ({readable: "a.png"}, [])


def test_the_image_in_the_same_folder_is_preferred_among_equal_base_names() -> None:
    labels = ["cat/1.png", "dog/1.png"]
    assert match(labels, ["dog/1.jpg", "cat/1.jpg"], "")[0] == {"cat/1.jpg": "cat/1.png", "dog/1.jpg": "dog/1.png"}


def test_an_image_given_for_a_label_is_used_even_if_the_names_differ() -> None:
    assert match(["a.json"], ["a.jpg", "b.jpg"], "", {"a.json": "b.jpg"})[0] == {"b.jpg": "a.json"}


@pytest.mark.parametrize("images", [["a.jpg", "a.png"], ["x/a.jpg", "y/a.jpg"]])
def test_a_label_that_could_belong_to_two_images_is_rejected_with_the_fix(images: list[str]) -> None:
    with pytest.raises(UserError, match=rf"^a\.png could belong to {images[0]} or {images[1]}, .*: leave one$"):
        match(["a.png"], images, "leave one")


def test_two_labels_of_one_image_are_rejected() -> None:
    with pytest.raises(UserError, match=r"^a\.png and x/a\.png both belong to the image b/a\.jpg: remove one of them"):
        match(["a.png", "x/a.png"], ["b/a.jpg"], "")


def test_a_hidden_base_name_is_a_name() -> None:
    assert match([".a"], ["x/.a", "y/b.jpg"], "") == ({}, [".a"])
