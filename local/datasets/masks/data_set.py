"""The masks of a data set and their photos: found by name, looked at once, and read when a photo is written."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from local.datasets.dataset import DataSet, make_entries
from local.datasets.files.pairing import Pairs
from local.datasets.masks import class_mapping, table
from local.datasets.masks.class_mapping import MaskContents
from local.datasets.masks.mask import Mask
from local.datasets.masks.table import Table
from local.datasets.notes import Notes, read_usable
from local.errors import UserError
from local.progress import Progress
from serve.machine import cpu_count
from train.semantic_segmentation.masks import IGNORE

BINARY = "masks of 0 and 255 alone, where 255 is the class 1"
IGNORED = "masks with pixels of 255, which are of no class"
CLASS_VALUES = "numbers or colours in masks that are classes"


def read(
    root: Path, files: Sequence[str], paired: Pairs, parts: Mapping[str, str], notes: Notes, guess: Table | None = None
) -> DataSet[Mask]:
    """Read the masks of photos; all paths are below `root`. `parts` are the photos to use, with their part.

    A table among `files` maps mask values to classes; without one, `guess` does if it fits (see `class_mapping.find`).
    `notes` gets the classes found and the masks that cannot be used. Raises UserError if no photo has a mask or if most
    masks cannot be used, and as `table.find` and `class_mapping.find` do.
    """
    paired.note("mask", parts, notes)
    found = {photo: file for photo, file in paired.found.items() if photo in parts}
    if not found:
        raise UserError(f"{root} has no mask of any photo: images/a.jpg has masks/a.png, or a.jpg has a_mask.png")
    return of_masks(root, found, parts, notes, table.find(root, files), guess)


def of_masks(
    root: Path,
    found: Mapping[str, str],
    parts: Mapping[str, str],
    notes: Notes,
    named: Table | None = None,
    guess: Table | None = None,
) -> DataSet[Mask]:
    """Read the mask of each photo that is `found`, as `read` does; `named` is the table that says what masks hold."""
    looks = _look_at_all(root, found, notes)
    mapping = class_mapping.find(root, list(looks.values()), named, guess)
    if not mapping.names:
        raise UserError(f"{root} has no mask with a class, all pixels are 255, as in {next(iter(found.values()))}")

    def names_in(photo: str) -> set[str]:
        return {mapping.names[label] for label in mapping.labels(looks[photo])}

    classes = dict(read_usable(looks, names_in, root, notes, "mask"))
    used = {photo: found[photo] for photo in classes}
    counts = mapping.binary or mapping.numbers.get(IGNORE) == IGNORE
    has_255 = [file for photo, file in used.items() if counts and IGNORE in looks[photo].numbers]
    notes[BINARY if mapping.binary else IGNORED] = has_255
    notes[CLASS_VALUES + (f", by {mapping.source}" if mapping.source else "")] = mapping.describe(
        [looks[photo] for photo in used]
    )
    photos = [
        (root / photo, parts[photo], Mask(file, partial(mapping.read, root / file, file)), classes[photo])
        for photo, file in used.items()
    ]
    return DataSet(root, make_entries(photos), mapping.names, notes, mapping.pixels)


def _look_at_all(root: Path, found: Mapping[str, str], notes: Notes) -> dict[str, MaskContents]:
    """What is in the mask of each photo, but for those that cannot be used."""
    with Progress("Looking at", len(found), "mask") as progress, ThreadPoolExecutor(cpu_count()) as pool:
        looks = {photo: pool.submit(class_mapping.inspect_mask, root / file, file) for photo, file in found.items()}
        for count, one in enumerate(looks.values(), start=1):
            one.exception()
            progress.done(count)
    return dict(read_usable(looks, lambda photo: looks[photo].result(), root, notes, "mask"))
