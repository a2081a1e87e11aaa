"""Notes on what was left out of a data set, with the same wording for all layouts. Each phrase precedes a count."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from local.datasets.dataset import UNUSABLE, Target
from local.errors import UserError
from serve.words import plural
from train.data import parts

Item = TypeVar("Item")
Notes: TypeAlias = dict[str, list[str]]
"""Lists of files, lines or names, by what happened to them."""

MISSING = "listed files that are not in the folder, left out"
SEVERAL = "listed files with ambiguous paths, left out"
TWICE = "photos listed more than once, first entry used"
UNLISTED = "photos that are not listed, left out"
UNLABELLED = "photos without a label, left out"
TEST_PHOTOS = parts.TEST_PHOTOS
RENUMBERED = "class numbers that were changed"
UNUSED_CLASSES = "classes without photos, left out"


def without_file(what: str) -> str:
    """Return the note for photos without a file such as a mask."""
    return f"photos that have no {what}, left out"


def without_photo(what: str) -> str:
    """Return the note for files such as masks without a photo."""
    return f"{what}s without a photo, left out"


def require_usable(root: Path, usable: int, unusable: Sequence[str], what: str = "photo") -> None:
    """Raise UserError if more items are unusable than usable. `unusable` are the reasons, `what` names an item."""
    if len(unusable) > usable:
        counted = plural(len(unusable), what)
        raise UserError(f"{unusable[0]} ({counted} of {usable + len(unusable)} below {root} cannot be used)")


def read_usable(
    items: Iterable[Item], read: Callable[[Item], Target], root: Path, notes: Notes, what: str = "photo"
) -> list[tuple[Item, Target]]:
    """Return each item with the result of `read`. Note items for which it raises UserError as UNUSABLE.

    Raise UserError as `require_usable` does.
    """
    pairs: list[tuple[Item, Target]] = []
    unusable = notes.setdefault(UNUSABLE, [])
    for item in items:
        try:
            pairs.append((item, read(item)))
        except UserError as error:
            unusable.append(str(error))
    require_usable(root, len(pairs), unusable, what)
    return pairs
