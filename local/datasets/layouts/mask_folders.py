"""Photos and masks by equal base names, in folders that are called by what they hold, or beside each other.

    images/a.jpg, masks/a.png                       also labels, annotations, gt, SegmentationClass
    train/images/a.jpg, train/masks/a.png           or images/train and masks/train; train and train_labels
    a.jpg, a_mask.png                               also _gt, _seg, in one folder or in two

`local.datasets.masks.class_mapping` describes what masks may hold. EXIF: a mask that has the photo's stored size is
rotated with the photo; a mask that only fits the upright photo is used as it is.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from local.datasets.dataset import DataSet
from local.datasets.files.pairing import ANNOTATIONS, MASKS, OTHER, Key, Photos, assign_parts, key, kinds, pair
from local.datasets.files.walk import list_files
from local.datasets.masks import data_set
from local.datasets.masks.mask import SUFFIXES, Mask
from local.datasets.notes import Notes
from train.data import pairs

_ENDING = re.compile(r"(?:(?i:[_-](?:masks?|gt|seg|segmentation|labels?|groundtruth))|_L)$")


def recognise(root: Path) -> str | None:
    """Return how one sees that `root` holds photos and masks, None if it does not.

    A JPEG called a_mask.jpg may as well show somebody who wears one.
    """
    photos, masks = _sorted_out(list_files(root))
    for mask in (mask for mask in masks if kinds(mask) or mask.lower().endswith(SUFFIXES)):
        if (photo := next(filter(None, map(photos.with_key, _keys(mask))), None)) is not None:
            return f"{photo} has the mask {mask}"
    return None


def segmentation(root: Path) -> DataSet[Mask]:
    """Read the photos that have a mask. Raises UserError as `data_set.read` does."""
    found, notes = list_files(root), Notes()
    photos, masks = _sorted_out(found)
    parts = assign_parts(photos, {}, notes)
    return data_set.read(root, found, pair(photos, masks, _keys), parts, notes)


def _sorted_out(found: Sequence[str]) -> tuple[Photos, list[str]]:
    """The photos, and the masks in order: of two of a base name one that is not a JPEG comes first."""
    images = [file for file in found if file.lower().endswith(pairs.IMAGE_SUFFIXES) and OTHER not in kinds(file)]
    in_folders = {file for file in images if {MASKS, ANNOTATIONS} & kinds(file)}
    outside = {key(file) for file in images if file not in in_folders}
    masks = {file for file in images if file in in_folders or any(one in outside for one in _shorter(file))}
    photos = Photos([file for file in images if file not in masks])
    return photos, sorted(masks, key=lambda file: (file.lower().endswith((".jpg", ".jpeg")), file))


def _keys(mask: str) -> Iterator[Key]:
    """The keys that the photo of a mask may have."""
    yield key(mask)
    yield from _shorter(mask)


def _shorter(file: str) -> Iterator[Key]:
    """The key of a file without the ending of a mask, if it has one."""
    own = key(file)
    if (shorter := _ENDING.sub("", own.base)) not in ("", own.base):
        yield own._replace(base=shorter)
