"""Channels of any algorithm: photos as they are or re-encoded as JPEG, RecordIO files, and what there is to say."""

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
    """What was written and what was not.

    `class_names` by label; `pixels` as the data set has them; `counts` of photos per channel; `files` holds files with
    their reasons by what was done to them, in words that a number follows.
    """

    class_names: Sequence[str]
    pixels: Sequence[int] = ()
    multi_label: bool = False
    counts: dict[str, int] = field(default_factory=lambda: {"train": 0, "validation": 0})
    files: dict[str, list[str]] = field(default_factory=dict)

    @property
    def hyperparameters(self) -> dict[str, int]:
        """What a job on these channels has to be given."""
        counts = {"num_classes": len(self.class_names), "num_training_samples": self.counts["train"]}
        return counts | ({"multi_label": 1} if self.multi_label else {})

    def note(self, done: str, file: str) -> None:
        """`done` was done to `file` (a name and a reason)."""
        self.files.setdefault(done, []).append(file)


@dataclass(frozen=True)
class LoadedPhoto:
    """A photo for a channel: an upright JPEG's bytes, why they were re-encoded ("" if not), and the file's header."""

    data: bytes
    reencoded: str
    frame: preprocess.Frame


@dataclass(frozen=True)
class Photo(Generic[Truth]):
    """A photo to write: its entry in the lists, what its algorithm says is true of it, and the JPEG's bytes."""

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
    """The photos that can be used, in order, with their `truth`; a chunk at a time to keep memory small.

    What cannot be read, and what `truth` refuses with a UserError, is noted in `summary` and left out. `before` counts
    the photos that `progress` has seen already. `cache` keeps what is seen of the photos.
    """
    for start in range(0, len(chosen), _CHUNK):
        chunk = chosen[start : start + _CHUNK]
        taken = pool.map(partial(_load, cache=cache), [entry.path for entry in chunk])
        for offset, (entry, photo) in enumerate(zip(chunk, taken, strict=True), start=start + 1):
            progress.done(before + offset)
            file = entry.path.name
            if isinstance(photo, str):
                summary.note(UNREADABLE, f"{file} {photo}")
                continue
            try:
                known = truth(entry, photo)
            except UserError as error:
                summary.note(UNUSABLE, str(error))
                continue
            if photo.reencoded:
                summary.note(REENCODED, f"{file} {photo.reencoded}")
            yield Photo(entry, known, photo.data)


def write_recordio(
    folder: Path,
    photos: Iterable[Photo[Truth]],
    label: Callable[[Truth, Summary], float | Sequence[float]],
    summary: Summary,
) -> None:
    """Write `photos` into `folder`/NAME.rec, NAME being the folder's; `label` gives a record's label from a truth."""
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
    """Write `photos` into `building`/`channel` and, with the same base names, their annotations beside it.

    Returns the folder of the annotations, `building`/CHANNEL_annotation.
    """
    annotations = building / f"{channel}_annotation"
    annotations.mkdir()
    for photo in photos:
        (building / channel / f"{photo.entry.name}.jpg").write_bytes(photo.data)
        (annotations / f"{photo.entry.name}{suffix}").write_bytes(annotation(photo))
    return annotations


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Write `folder`/classes.txt: one class name a line, by label."""
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def read_class_names(folder: Path) -> list[str]:
    """Read `folder`/classes.txt."""
    return (folder / "classes.txt").read_text(encoding="utf-8").split("\n")[:-1]


def _load(path: Path, cache: PhotoCache | None) -> LoadedPhoto | str:
    """The photo for the channel, or why it cannot be read."""
    try:
        data = path.read_bytes()
        image = preprocess.decode(data)
    except FileNotFoundError:
        return "does not exist"
    except preprocess.UnreadableImage as error:
        return str(error)
    frame = preprocess.frame(data)
    why = _why_reencode(data, frame)
    if why:
        encoded = io.BytesIO()
        image.save(encoded, "JPEG", quality=QUALITY)
        data = encoded.getvalue()
    if cache is not None:
        cache.add(data, image)
    return LoadedPhoto(data, why, frame)


def _why_reencode(data: bytes, frame: preprocess.Frame) -> str:
    """What other tools would read differently from us, in words; "" for an upright RGB or greyscale JPEG."""
    with Image.open(io.BytesIO(data)) as header:
        if header.format != "JPEG":
            return f"is a {header.format}"
        if header.mode not in ("RGB", "L"):
            return f"is {header.mode}"
    return "" if frame.orientation == 1 else "is turned by EXIF"
