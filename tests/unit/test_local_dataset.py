"""Splits of a data set and file names in a channel, for any layout."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from local.datasets.dataset import Entry, random_split, rarest_classes
from local.datasets.names import channel_names

GROUPS = st.lists(st.sampled_from("abcd"), max_size=60)


@given(GROUPS, st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_random_split_keeps_every_photo_once_and_every_group_on_both_sides(
    groups: list[str], fraction: float, seed: int
) -> None:
    photos = [Entry(str(number), Path(str(number)), (), group=group) for number, group in enumerate(groups)]
    train, held_out = random_split(photos, fraction, seed)
    assert sorted([*train, *held_out], key=photos.index) == photos
    assert (train, held_out) == random_split(photos, fraction, seed)
    for group in set(groups):
        count = groups.count(group)
        sides = [sum(photo.group == group for photo in side) for side in (train, held_out)]
        assert min(sides) >= (1 if count > 1 else 0)
        if count > 3:
            assert abs(sides[0] - fraction * count) <= 1


@given(st.lists(st.tuples(st.sampled_from(["", "b"]), st.sampled_from(["1", "1-2", "1-3", "a", "A"]))))
def test_names_in_a_folder_are_unique_and_the_first_photo_keeps_its_name(places: list[tuple[str, str]]) -> None:
    names = channel_names([Path(f"{name}.jpg") for _, name in places], [folder for folder, _ in places])
    written = [(folder, name.casefold()) for (folder, _), name in zip(places, names, strict=True)]
    assert len(set(written)) == len(places)
    for number, (folder, name) in enumerate(places):
        if (folder, name.casefold()) not in [(folder, name.casefold()) for folder, name in places[:number]]:
            assert names[number] == name


def test_a_photo_with_several_classes_is_grouped_by_its_rarest_class() -> None:
    assert rarest_classes([("cat", "dog"), ("cat", "cat"), ("dog", "cat"), (), ("cat",), ("bird", "dog")]) == [
        "dog",
        "cat",
        "dog",
        "",
        "cat",
        "bird",
    ]
