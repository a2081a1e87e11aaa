"""Match labels to images in two channels: they have the same base name, at any depth."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from train.errors import UserError

# fmt: off
READABLE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
)
"""File name suffixes of the image formats that can be read, in lower case."""
IMAGE_SUFFIXES = (
    *READABLE_SUFFIXES,
    ".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".tga", ".psd", ".svg",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf",
)
"""Includes formats that cannot be read. Such a file counts as an unreadable image; ignoring it would hide the loss."""
# fmt: on


def select_images(names: Iterable[str]) -> list[str]:
    """Return the names of images. Drop an image in an unreadable format if a readable one has the same stem."""
    images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    readable = {_stem(name) for name in images if name.lower().endswith(READABLE_SUFFIXES)}
    return [name for name in images if name.lower().endswith(READABLE_SUFFIXES) or _stem(name) not in readable]


def match(
    labels: Iterable[str], images: Iterable[str], fix: str, declared: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """Return a map from images to their labels, and the labels without an image. Names are paths in their channels.

    `declared` maps some labels to their images. If several images have the base name of a label, the one in the same
    folder is chosen. Raises UserError if a label could belong to two images (the message ends with `fix`), or if two
    labels belong to the same image.
    """
    by_base_name: dict[str, list[str]] = defaultdict(list)
    for image in select_images(sorted(images)):
        by_base_name[base_name(image)].append(image)
    label_of: dict[str, str] = {}
    unmatched: list[str] = []
    for label in labels:
        chosen = (declared or {}).get(label) or _choose(label, by_base_name[base_name(label)], fix)
        if chosen is None:
            unmatched.append(label)
        elif chosen in label_of:
            raise UserError(f"{label_of[chosen]} and {label} both belong to the image {chosen}: remove one of them")
        else:
            label_of[chosen] = label
    return label_of, unmatched


def _choose(label: str, images: Sequence[str], fix: str) -> str | None:
    """Return a label's image among those with its base name: in the same folder if possible, else a readable one."""
    same_folder = [image for image in images if _stem(image) == _stem(label)]
    chosen = same_folder or [image for image in images if image.lower().endswith(READABLE_SUFFIXES)] or images
    if len(chosen) > 1:
        raise UserError(f"{label} could belong to {chosen[0]} or {chosen[1]}, which have the same base name: {fix}")
    return chosen[0] if chosen else None


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def base_name(name: str) -> str:
    """Return the base name: without folders and suffix."""
    return _stem(name.rpartition("/")[2])
