"""The files of semantic-segmentation: which photo each mask is of. No framework, no OpenCV."""

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
    """Return the photos of a channel that have a mask and, in the same order, their masks; log what is left out.

    Raises UserError naming the channel or file when there is no such pair, or a file belongs to two.
    """
    images, notes = channels[name], f"{name}_annotation"
    if is_recordio(channels, name, notes):
        raise UserError(
            f"channel {name!r} is RecordIO, which semantic-segmentation does not train on (augmented manifests in Pipe "
            f"mode are not read yet): give images in {name!r} and PNG masks in {notes!r}, with ContentType image/jpeg "
            "and image/png or none"
        )
    labels = channels[notes]
    files = {path.relative_to(images.path).as_posix(): path for path in images.files()}
    found = _masks(labels, files)
    if not any(name.lower().endswith(masks.SUFFIX) for name in found):
        raise UserError(
            f"channel {notes!r} must hold one {masks.SUFFIX} mask for each image of {name!r} and holds none: it holds "
            f"{listing(labels.path)}"
        )
    matched, alone = pairs.match(sorted(found), files, f"leave one of them in {name!r}")
    if not matched:
        raise UserError(
            f"no mask of {notes!r} belongs to an image of {name!r}: {min(found)} needs an image "
            f"of its base name, such as {min(found)[: -len(masks.SUFFIX)]}.jpg; {name!r} holds {listing(images.path)}"
        )
    order = sorted(matched)
    alike = [file for file in order if matched[file] == file]
    if alike and all(_same(files[file], found[file]) for file in alike):  # not any: a black photo may have a black mask
        raise UserError(
            f"{name}/{alike[0]} and {notes}/{alike[0]} are the same file: {name!r} must hold photos and no masks"
        )
    issues = DataIssues()
    for file in alone:
        issues.add(f"masks of {notes} without an image, left out", file)
    for file in files:
        if file not in matched and file.lower().endswith(pairs.IMAGE_SUFFIXES):
            issues.add(f"images of {name} without a mask, left out", file)
    issues.log()
    LOG.info("Channel %s: %s in image form", name, plural(len(matched), "sample"))
    return (
        [Sample(file, None, files[file]) for file in order],
        [Sample(matched[file], None, found[matched[file]]) for file in order],
    )


def _masks(labels: Channel, images: dict[str, Path]) -> dict[str, Path]:
    """Return the PNG files of a channel by name, and pictures in other formats where there is no PNG in their place.

    Those cannot be read, and must count as such. One of `images`, where both channels are one folder, is no mask.
    """
    every = {path.relative_to(labels.path).as_posix(): path for path in labels.files(pairs.IMAGE_SUFFIXES)}
    found = {name: path for name, path in every.items() if name.lower().endswith(masks.SUFFIX)}
    known = {pairs.base_name(name) for name in found}
    others = {name: path for name, path in every.items() if pairs.base_name(name) not in known}
    if others:
        taken = {os.path.realpath(path) for path in images.values()}
        found |= {name: path for name, path in others.items() if os.path.realpath(path) not in taken}
    return found


def _same(one: Path, other: Path) -> bool:
    """Return whether two files hold the same bytes; one that cannot be read is for the reading to tell."""
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False
