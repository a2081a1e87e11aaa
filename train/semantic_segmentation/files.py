"""Match the photos and masks of semantic-segmentation. Needs neither a framework nor OpenCV."""

import filecmp
import os
from pathlib import Path

from serve.words import plural
from train.data import pairs
from train.data.channels import Channel, is_recordio, listing
from train.data.samples import DataIssues, Sample
from train.errors import UserError
from train.log import LOG
from train.semantic_segmentation import masks


def list_pairs(channels: dict[str, Channel], name: str) -> tuple[list[Sample[None]], list[Sample[None]]]:
    """Return the photos of a channel that have a mask and, in the same order, their masks. Log what is left out.

    Raises UserError with the channel or file if there is no pair, or if a file could belong to two pairs.
    """
    images, labels_name = channels[name], f"{name}_annotation"
    if is_recordio(channels, name, labels_name):
        raise UserError(
            f"channel {name!r} is RecordIO, which semantic-segmentation does not support (nor augmented manifests in "
            f"Pipe mode): provide images in {name!r} and PNG masks in {labels_name!r}, with ContentType image/jpeg and "
            "image/png, or none"
        )
    labels = channels[labels_name]
    files = {path.relative_to(images.path).as_posix(): path for path in images.files()}
    mask_files = _masks(labels, files)
    if not any(name.lower().endswith(masks.SUFFIX) for name in mask_files):
        raise UserError(
            f"channel {labels_name!r} has no {masks.SUFFIX} mask but must have one for each image of {name!r}: it "
            f"holds {listing(labels.path)}"
        )
    mask_of, unmatched = pairs.match(sorted(mask_files), files, f"leave one of them in {name!r}")
    if not mask_of:
        raise UserError(
            f"no mask of {labels_name!r} belongs to an image of {name!r}: {min(mask_files)} needs an image with its "
            f"base name, such as {min(mask_files)[: -len(masks.SUFFIX)]}.jpg; {name!r} holds {listing(images.path)}"
        )
    order = sorted(mask_of)
    same_name = [file for file in order if mask_of[file] == file]
    # All, not any, because a black photo may have a black mask.
    if same_name and all(_same(files[file], mask_files[file]) for file in same_name):
        raise UserError(
            f"{name}/{same_name[0]} and {labels_name}/{same_name[0]} are the same file: {name!r} must hold photos, not "
            "masks"
        )
    issues = DataIssues()
    for file in unmatched:
        issues.add(f"masks of {labels_name} without an image, left out", file)
    for file in files:
        if file not in mask_of and file.lower().endswith(pairs.IMAGE_SUFFIXES):
            issues.add(f"images of {name} without a mask, left out", file)
    issues.log()
    LOG.info("Channel %s: %s in image form", name, plural(len(mask_of), "sample"))
    return (
        [Sample(file, None, files[file]) for file in order],
        [Sample(mask_of[file], None, mask_files[mask_of[file]]) for file in order],
    )


def _masks(labels: Channel, images: dict[str, Path]) -> dict[str, Path]:
    """Return the masks of a channel by name: PNG files, and images in other formats that have no PNG counterpart.

    Other formats count as unreadable masks. If both channels are the same folder, the files in `images` are not masks.
    """
    image_files = {path.relative_to(labels.path).as_posix(): path for path in labels.files(pairs.IMAGE_SUFFIXES)}
    mask_files = {name: path for name, path in image_files.items() if name.lower().endswith(masks.SUFFIX)}
    known = {pairs.base_name(name) for name in mask_files}
    others = {name: path for name, path in image_files.items() if pairs.base_name(name) not in known}
    if others:
        photos = {os.path.realpath(path) for path in images.values()}
        mask_files |= {name: path for name, path in others.items() if os.path.realpath(path) not in photos}
    return mask_files


def _same(first: Path, second: Path) -> bool:
    """Return whether two files have the same bytes; False if one is unreadable, which is reported later."""
    try:
        return filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False
