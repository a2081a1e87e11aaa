"""Build a data set of photos and masks. Each mask is inspected once, and read again when its photo is written."""

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

BINARY = "masks with only 0 and 255, where 255 is class 1"
IGNORED = "masks with pixels of 255, which are ignored"
CLASS_VALUES = "numbers or colours in masks that are classes"


def read(
    root: Path, files: Sequence[str], paired: Pairs, parts: Mapping[str, str], notes: Notes, guess: Table | None = None
) -> DataSet[Mask]:
    """Read the masks of photos. All paths are relative to `root`. `parts` maps each photo to use to its part.

    A table among `files` maps mask values to classes; without one, `guess` does if it fits (see `class_mapping.find`).
    `notes` gets the classes found and the masks that cannot be used. Raise UserError if no photo has a mask or if most
    masks cannot be used, and as `table.find` and `class_mapping.find` do.
    """
    paired.note("mask", parts, notes)
    mask_files = {photo: file for photo, file in paired.files.items() if photo in parts}
    if not mask_files:
        raise UserError(
            f"{root} has no mask for any photo: name them like masks/a.png for images/a.jpg, or a_mask.png for a.jpg"
        )
    return of_masks(root, mask_files, parts, notes, table.find(root, files), guess)


def of_masks(
    root: Path,
    mask_files: Mapping[str, str],
    parts: Mapping[str, str],
    notes: Notes,
    named: Table | None = None,
    guess: Table | None = None,
) -> DataSet[Mask]:
    """Read the masks in `mask_files`, which maps photos to masks, as `read` does. `named` is the table of classes."""
    contents = _inspect_all(root, mask_files, notes)
    mapping = class_mapping.find(root, list(contents.values()), named, guess)
    if not mapping.names:
        raise UserError(f"{root} has no mask with a class: all pixels are 255, as in {next(iter(mask_files.values()))}")

    def names_in(photo: str) -> set[str]:
        return {mapping.names[label] for label in mapping.labels(contents[photo])}

    classes = dict(read_usable(contents, names_in, root, notes, "mask"))
    used = {photo: mask_files[photo] for photo in classes}
    note_255 = mapping.binary or mapping.numbers.get(IGNORE) == IGNORE
    has_255 = [file for photo, file in used.items() if note_255 and IGNORE in contents[photo].numbers]
    notes[BINARY if mapping.binary else IGNORED] = has_255
    notes[CLASS_VALUES + (f", by {mapping.source}" if mapping.source else "")] = mapping.describe(
        [contents[photo] for photo in used]
    )
    photos = [
        (root / photo, parts[photo], Mask(file, partial(mapping.read, root / file, file)), classes[photo])
        for photo, file in used.items()
    ]
    return DataSet(root, make_entries(photos), mapping.names, notes, mapping.pixels)


def _inspect_all(root: Path, mask_files: Mapping[str, str], notes: Notes) -> dict[str, MaskContents]:
    """Return the contents of each photo's mask. Note masks that cannot be used."""
    with Progress("Inspecting", len(mask_files), "mask") as progress, ThreadPoolExecutor(cpu_count()) as pool:
        futures = {
            photo: pool.submit(class_mapping.inspect_mask, root / file, file) for photo, file in mask_files.items()
        }
        for count, future in enumerate(futures.values(), start=1):
            future.exception()
            progress.done(count)
    return dict(read_usable(futures, lambda photo: futures[photo].result(), root, notes, "mask"))
