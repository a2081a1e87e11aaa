"""Photos and masks with equal base names, in folders named after their content or in the same folder.

    images/a.jpg, masks/a.png                       also labels, annotations, gt, SegmentationClass
    train/images/a.jpg, train/masks/a.png           or images/train and masks/train; train and train_labels
    a.jpg, a_mask.png                               also _gt, _seg, in one or two folders

`local.datasets.masks.class_mapping` describes what masks may hold. EXIF: a mask that has the photo's stored size is
rotated with the photo; a mask that only fits the upright photo is used as is.
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
    """Return the evidence that `root` holds photos and masks, or None.

    A JPEG named a_mask.jpg is not evidence: it may show a person wearing a mask.
    """
    photos, masks = _separate(list_files(root))
    for mask in (mask for mask in masks if kinds(mask) or mask.lower().endswith(SUFFIXES)):
        if (photo := next(filter(None, map(photos.with_key, _keys(mask))), None)) is not None:
            return f"{photo} has the mask {mask}"
    return None


def segmentation(root: Path) -> DataSet[Mask]:
    """Read the photos that have a mask. Raise UserError as `data_set.read` does."""
    files, notes = list_files(root), Notes()
    photos, masks = _separate(files)
    parts = assign_parts(photos, {}, notes)
    return data_set.read(root, files, pair(photos, masks, _keys), parts, notes)


def _separate(files: Sequence[str]) -> tuple[Photos, list[str]]:
    """Return the photos and the sorted masks, in which JPEGs come last so that lossless masks are preferred."""
    images = [file for file in files if file.lower().endswith(pairs.IMAGE_SUFFIXES) and OTHER not in kinds(file)]
    in_folders = {file for file in images if {MASKS, ANNOTATIONS} & kinds(file)}
    outside = {key(file) for file in images if file not in in_folders}
    masks = {file for file in images if file in in_folders or any(shorter in outside for shorter in _shortened(file))}
    photos = Photos([file for file in images if file not in masks])
    return photos, sorted(masks, key=lambda file: (file.lower().endswith((".jpg", ".jpeg")), file))


def _keys(mask: str) -> Iterator[Key]:
    """Yield the keys that the photo of a mask may have."""
    yield key(mask)
    yield from _shortened(mask)


def _shortened(file: str) -> Iterator[Key]:
    """Yield the key of a file without its mask suffix such as _mask, if it has one."""
    full = key(file)
    if (base := _ENDING.sub("", full.base)) not in ("", full.base):
        yield full._replace(base=base)
