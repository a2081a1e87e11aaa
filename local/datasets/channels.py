"""Write channels for any algorithm: load photos, re-encode them if needed, and collect a summary of problems."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from PIL import Image

from local.datasets.dataset import UNUSABLE, Entry, Target
from local.datasets.photo_cache import PhotoCache
from local.errors import UserError
from local.progress import Progress
from serve import preprocess
from train.data import recordio

QUALITY = 95
MAX_NAMED = 10
UNREADABLE = "listed photos that cannot be read, skipped"
REENCODED = f"photos re-encoded as JPEG, quality {QUALITY}"
_CHUNK = 64

Truth = TypeVar("Truth")


@dataclass
class Summary:
    """What was written, and which files were changed or skipped.

    `class_names` are ordered by label. `pixels` is DataSet.pixels. `counts` holds the number of photos per channel.
    `files` lists the affected files, each with a reason, by category. A category is a phrase that precedes a count.
    """

    class_names: Sequence[str]
    pixels: Sequence[int] = ()
    multi_label: bool = False
    counts: dict[str, int] = field(default_factory=lambda: {"train": 0, "validation": 0})
    files: dict[str, list[str]] = field(default_factory=dict)

    @property
    def hyperparameters(self) -> dict[str, int]:
        """Hyperparameters that a job on these channels needs."""
        counts = {"num_classes": len(self.class_names), "num_training_samples": self.counts["train"]}
        return counts | ({"multi_label": 1} if self.multi_label else {})

    def note(self, category: str, file: str) -> None:
        """Add `file`, a name and a reason, to a category of `files`."""
        self.files.setdefault(category, []).append(file)


@dataclass(frozen=True)
class LoadedPhoto:
    """A photo for a channel: the bytes of an upright JPEG, and the dimensions and orientation of the original file.

    `reencode_reason` is "" if the bytes are those of the original file.
    """

    data: bytes
    reencode_reason: str
    frame: preprocess.Frame


@dataclass(frozen=True)
class Photo(Generic[Truth]):
    """A photo to write: its entry in the data set, its ground truth for the algorithm, and the bytes of its JPEG."""

    entry: Entry[Any]
    truth: Truth
    data: bytes


def load_photos(
    chosen: Sequence[Entry[Target]],
    truth: Callable[[Entry[Target], LoadedPhoto], Truth],
    summary: Summary,
    pool: ThreadPoolExecutor,
    progress: Progress,
    before: int = 0,
    cache: PhotoCache | None = None,
) -> Iterator[Photo[Truth]]:
    """Yield the usable photos with their ground truth, in order. Load one chunk at a time to limit memory.

    Note in `summary` and skip photos that cannot be read or for which `truth` raises UserError. `before` is the number
    of photos already counted by `progress`. `cache` gets a PhotoInfo for each photo.
    """
    for start in range(0, len(chosen), _CHUNK):
        chunk = chosen[start : start + _CHUNK]
        loaded = pool.map(partial(_load, cache=cache), [entry.path for entry in chunk])
        for offset, (entry, photo) in enumerate(zip(chunk, loaded, strict=True), start=start + 1):
            progress.done(before + offset)
            file = entry.path.name
            if isinstance(photo, str):
                summary.note(UNREADABLE, f"{file} {photo}")
                continue
            try:
                photo_truth = truth(entry, photo)
            except UserError as error:
                summary.note(UNUSABLE, str(error))
                continue
            if photo.reencode_reason:
                summary.note(REENCODED, f"{file} {photo.reencode_reason}")
            yield Photo(entry, photo_truth, photo.data)


def write_recordio(
    folder: Path,
    photos: Iterable[Photo[Truth]],
    label: Callable[[Truth, Summary], float | Sequence[float]],
    summary: Summary,
) -> None:
    """Write `photos` to `folder`/NAME.rec, where NAME is the folder's name. `label` converts a truth to a label."""
    with recordio.Writer(folder / f"{folder.name}.rec") as records:
        for index, photo in enumerate(photos):
            records.write(recordio.pack_image(label(photo.truth, summary), index, photo.data))


def write_pairs(
    building: Path,
    channel: str,
    photos: Iterable[Photo[Truth]],
    suffix: str,
    annotation: Callable[[Photo[Truth]], bytes],
) -> Path:
    """Write `photos` to `building`/`channel`, and annotations with the same base names to a folder next to it.

    Return the folder of the annotations, `building`/CHANNEL_annotation.
    """
    annotations = building / f"{channel}_annotation"
    annotations.mkdir()
    for photo in photos:
        (building / channel / f"{photo.entry.name}.jpg").write_bytes(photo.data)
        (annotations / f"{photo.entry.name}{suffix}").write_bytes(annotation(photo))
    return annotations


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Write `folder`/classes.txt: one class name per line, ordered by label."""
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def read_class_names(folder: Path) -> list[str]:
    """Read `folder`/classes.txt."""
    return (folder / "classes.txt").read_text(encoding="utf-8").split("\n")[:-1]


def _load(path: Path, cache: PhotoCache | None) -> LoadedPhoto | str:
    """Return the photo for the channel, or the reason why it cannot be read."""
    try:
        data = path.read_bytes()
        image = preprocess.decode(data)
    except FileNotFoundError:
        return "does not exist"
    except preprocess.UnreadableImage as error:
        return str(error)
    frame = preprocess.frame(data)
    reason = _reencode_reason(data, frame)
    if reason:
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=QUALITY)
        data = encoded.getvalue()
    if cache is not None:
        cache.add(data, image)
    return LoadedPhoto(data, reason, frame)


def _reencode_reason(data: bytes, frame: preprocess.Frame) -> str:
    """Return why other tools might read the file differently, or "" for an upright RGB or greyscale JPEG."""
    with Image.open(io.BytesIO(data)) as header:
        if header.format != "JPEG":
            return f"is a {header.format}"
        if header.mode not in ("RGB", "L"):
            return f"is {header.mode}"
    return "" if frame.orientation == 1 else "is rotated by EXIF"
