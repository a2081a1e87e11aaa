"""Which files of two channels belong together: a label's image is the one of its base name, at any depth."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from train.errors import UserError

READABLE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""What the names of images end in that can be read, in lower case."""
IMAGE_SUFFIXES = (
    *READABLE_SUFFIXES,
    *(".heic", ".heif", ".avif", ".jxl", ".jp2", ".j2k", ".tga", ".psd", ".svg"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
)
"""The same with formats that are not read: such a file is a photo that would be lost, so it counts as unreadable."""


def select_images(names: Iterable[str]) -> list[str]:
    """Return the names of images, of which one that is not read gives way to its like in the same folder that is."""
    found = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    read = {_stem(name) for name in found if name.lower().endswith(READABLE_SUFFIXES)}
    return [name for name in found if name.lower().endswith(READABLE_SUFFIXES) or _stem(name) not in read]


def match(
    labels: Iterable[str], images: Iterable[str], fix: str, told: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """Return the label's name by the image's, and the labels that have no image; names are paths in their channels.

    `told` names the image of some labels. Of several images of one base name that in the same folder counts. Raises
    UserError when a label may be of two images, with `fix` as its last words, and when two are of the same one.
    """
    named: dict[str, list[str]] = defaultdict(list)
    for photo in select_images(sorted(images)):
        named[base_name(photo)].append(photo)
    found: dict[str, str] = {}
    alone: list[str] = []
    for label in labels:
        image = (told or {}).get(label) or _namesake(label, named[base_name(label)], fix)
        if image is None:
            alone.append(label)
        elif image in found:
            raise UserError(f"{found[image]} and {label} are both of the image {image}: remove one of them")
        else:
            found[image] = label
    return found, alone


def _namesake(label: str, images: Sequence[str], fix: str) -> str | None:
    """Return the one image of a label's base name, the one in the same folder, or the one that can be read."""
    beside = [image for image in images if _stem(image) == _stem(label)]
    chosen = beside or [image for image in images if image.lower().endswith(READABLE_SUFFIXES)] or images
    if len(chosen) > 1:
        raise UserError(f"{label} may be of the image {chosen[0]} or {chosen[1]}, which have the same base name: {fix}")
    return chosen[0] if chosen else None


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def base_name(name: str) -> str:
    """Return the base name: without folders and ending."""
    return _stem(name.rpartition("/")[2])
