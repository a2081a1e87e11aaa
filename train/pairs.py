"""Which files of two channels belong together: a label's image is the one of its base name, at any depth."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from train.errors import UserError

IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".ppm", ".webp", ".tif", ".tiff")
"""What the names of images end in, in lower case."""


def match(
    labels: Iterable[str], images: Iterable[str], fix: str, told: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[str]]:
    """Return the label's name by the image's, and the labels that have no image; names are paths in their channels.

    `told` names the image of some labels. Of several images of one base name that in the same folder counts. Raises
    UserError when a label may be of two images, with `fix` as its last words, and when two are of the same one.
    """
    named: dict[str, list[str]] = defaultdict(list)
    for image in sorted(images):
        if image.lower().endswith(IMAGES):
            named[_base(image)].append(image)
    found: dict[str, str] = {}
    alone = []
    for label in labels:
        image = (told or {}).get(label) or _namesake(label, named[_base(label)], fix)
        if image is None:
            alone.append(label)
        elif image in found:
            raise UserError(f"{found[image]} and {label} are both of the image {image}: remove one of them")
        else:
            found[image] = label
    return found, alone


def _namesake(label: str, images: Sequence[str], fix: str) -> str | None:
    """Return the one image of a label's base name, or the one in the same folder."""
    chosen = [image for image in images if _stem(image) == _stem(label)] or images
    if len(chosen) > 1:
        raise UserError(f"{label} may be of the image {chosen[0]} or {chosen[1]}, which have the same base name: {fix}")
    return chosen[0] if chosen else None


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _base(name: str) -> str:
    return _stem(name.rpartition("/")[2])
