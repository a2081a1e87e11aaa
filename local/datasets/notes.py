"""What was left out of a data set, in words that a number follows: the same words in all layouts."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from local.datasets.dataset import UNUSABLE, Target
from local.errors import UserError
from serve.words import plural
from train.data import parts

Item = TypeVar("Item")
Notes: TypeAlias = dict[str, list[str]]
"""Files, lines or names, each with its reason, by what was done to them."""

MISSING = "listed files that are not in the folder, left out"
SEVERAL = "listed files that cannot be told apart, left out"
TWICE = "photos that are listed again, the first counts"
UNLISTED = "photos that are not listed, left out"
UNLABELLED = "photos without a label, left out"
TEST_PHOTOS = parts.TEST_PHOTOS
RENUMBERED = "class numbers that are another label now"
UNUSED_CLASSES = "classes that no photo has, left out"


def without_file(what: str) -> str:
    """The note for photos without a file of theirs, such as a mask."""
    return f"photos without their {what}, left out"


def without_photo(what: str) -> str:
    """The note for such files without a photo."""
    return f"{what}s without a photo, left out"


def require_usable(root: Path, usable: int, unusable: Sequence[str], what: str = "photo") -> None:
    """Raise UserError when more of `what` a data set has cannot be used than can be; `unusable` is why."""
    if len(unusable) > usable:
        counted = plural(len(unusable), what)
        raise UserError(f"{unusable[0]} ({counted} of {usable + len(unusable)} below {root} cannot be used)")


def read_usable(
    items: Iterable[Item], read: Callable[[Item], Target], root: Path, notes: Notes, what: str = "photo"
) -> list[tuple[Item, Target]]:
    """Return each item with what `read` makes of it; those of which it raises UserError are noted as UNUSABLE.

    Raises UserError as `require_usable` does.
    """
    found: list[tuple[Item, Target]] = []
    unusable = notes.setdefault(UNUSABLE, [])
    for item in items:
        try:
            found.append((item, read(item)))
        except UserError as error:
            unusable.append(str(error))
    require_usable(root, len(found), unusable, what)
    return found
