"""The masks of a data set and their photos: found by name, looked at once, and read when a photo is written."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from local.datasets.dataset import UNUSABLE, DataSet, require_usable
from local.datasets.files.namesakes import Pairs, entries
from local.datasets.masks import meaning as meanings
from local.datasets.masks import table
from local.datasets.masks.mask import Mask
from local.datasets.masks.meaning import Look
from local.datasets.masks.table import Table
from local.datasets.notes import Notes
from local.errors import UserError
from local.progress import Progress
from serve.machine import cpu_count
from train.semantic_segmentation.masks import IGNORE

BINARY = "masks of 0 and 255 alone, where 255 is the class 1"
IGNORED = "masks with pixels of 255, which are of no class"
FOUND = "numbers or colours in masks that are classes"


def read(
    root: Path, files: Sequence[str], paired: Pairs, parts: Mapping[str, str], notes: Notes, guess: Table | None = None
) -> DataSet[Mask]:
    """Read the masks of photos; all paths are below `root`. `parts` are the photos to use, with their part.

    A table among `files` says what masks hold, or else `guess` where it fits (see `meanings.find`). In `notes` goes
    what was found and what cannot be used. Raises UserError when no photo has a mask or most of them cannot be used,
    and what `table.find` and `meanings.find` raise.
    """
    paired.note("mask", parts, notes)
    found = {photo: file for photo, file in paired.found.items() if photo in parts}
    if not found:
        raise UserError(f"{root} has no mask of any photo: images/a.jpg has masks/a.png, or a.jpg has a_mask.png")
    looks, unusable = _look_at_all(root, found)
    require_usable(root, len(found) - len(unusable), unusable, "mask")
    meaning = meanings.find(root, list(looks.values()), table.find(root, files), guess)
    classes: dict[str, set[str]] = {}
    for photo, look in looks.items():
        try:
            classes[photo] = {meaning.names[label] for label in meaning.labels(look)}
        except UserError as error:
            unusable.append(str(error))
    require_usable(root, len(found) - len(unusable), unusable, "mask")
    used = {photo: found[photo] for photo in classes}
    counts = meaning.binary or meaning.numbers.get(IGNORE) == IGNORE
    has_255 = [file for photo, file in used.items() if counts and IGNORE in looks[photo].numbers]
    notes |= {UNUSABLE: unusable, BINARY if meaning.binary else IGNORED: has_255}
    notes[FOUND + (f", by {meaning.source}" if meaning.source else "")] = meaning.told([looks[photo] for photo in used])
    known = {photo: Mask(file, partial(meaning.read, root / file, file)) for photo, file in used.items()}
    return DataSet(root, entries(root, known, classes, parts), meaning.names, notes, meaning.pixels)


def _look_at_all(root: Path, found: Mapping[str, str]) -> tuple[dict[str, Look], list[str]]:
    """What is in the mask of each photo, and why some masks cannot be used."""

    def look(file: str) -> Look | str:
        try:
            return meanings.look(root / file, file)
        except UserError as error:
            return str(error)

    looks: dict[str, Look] = {}
    unusable: list[str] = []
    with Progress("Looking at", len(found), "mask") as progress, ThreadPoolExecutor(cpu_count()) as pool:
        for count, (photo, seen) in enumerate(zip(found, pool.map(look, found.values()), strict=True), start=1):
            progress.done(count)
            if isinstance(seen, str):
                unusable.append(seen)
            else:
                looks[photo] = seen
    return looks, unusable
