"""What was left out of a data set, in words that a number follows: the same words in all layouts."""

from typing import TypeAlias

Notes: TypeAlias = dict[str, list[str]]
"""Files, lines or names, each with its reason, by what was done to them."""

MISSING = "listed files that are not in the folder, left out"
SEVERAL = "listed files that cannot be told apart, left out"
TWICE = "photos that are listed again, the first counts"
UNLISTED = "photos that are not listed, left out"
UNLABELLED = "photos without a label, left out"
TEST_PHOTOS = "photos of a test part, left out"
UNUSED_CLASSES = "classes that no photo has, left out"


def without(what: str) -> str:
    """The note for photos without a file of theirs, such as a mask."""
    return f"photos without their {what}, left out"


def without_photo(what: str) -> str:
    """The note for such files without a photo."""
    return f"{what}s without a photo, left out"
