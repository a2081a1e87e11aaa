"""`python -m local prepare NAME`: an algorithm's channels from a data set in the official Oxford-IIIT Pet layout.

The image form is what SageMaker's built-in reads as application/x-image: photos in class folders plus .lst files; the
RecordIO form is one .rec per channel. What is no image is skipped and named. A clean JPEG goes in byte for byte; what
else can be read (a GIF or PNG by whatever name, CMYK, turned by EXIF) is made an upright RGB JPEG.
"""

import argparse
import io
import os
import random
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from local import pets as official
from local.errors import UserError
from local.pets import Pet, Pets
from local.progress import Progress
from serve import preprocess
from serve.machine import cpu_count
from train import recordio

NAMES = ("image-classification",)
LATER = ("object-detection", "semantic-segmentation", "image-classification-tensorflow")
QUALITY = 95
_NAMED = 10
_CHUNK = 64
_EXIF_ORIENTATION = 0x0112


@dataclass
class Summary:
    """What was written and what was not: class names by label, photos per channel, and files with the reason."""

    class_names: list[str]
    counts: dict[str, int] = field(default_factory=lambda: {"train": 0, "validation": 0})
    unreadable: list[str] = field(default_factory=list)
    reencoded: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prepare`."""
    parser.add_argument("name", metavar="NAME", help=f"algorithm: {', '.join(NAMES)}")
    parser.add_argument(
        "--data", type=Path, required=True, help="data set in the official layout (images/, annotations/)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write; it gets one folder per channel")
    parser.add_argument(
        "--format", choices=("image", "recordio"), default="image", help="image + .lst, or one .rec per channel"
    )
    parser.add_argument(
        "--split",
        choices=("official", "random"),
        default="official",
        help="official: train on trainval.txt, validate on test.txt; random: all photos, listed or not",
    )
    parser.add_argument(
        "--fraction", type=_fraction, default=0.8, help="share of each breed to train on, with --split random"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random split and of the training list's order")
    parser.add_argument("--classes", choices=("breed", "species"), default="breed", help="what is told apart")
    parser.add_argument("--force", action="store_true", help="replace --out if it is there")


def run(args: argparse.Namespace) -> int:
    """The command. Returns the exit code; raises UserError for what the user can mend."""
    if args.name in LATER:
        raise UserError(f"prepare {args.name}: not built yet, a later version brings it; there is {', '.join(NAMES)}")
    if args.name not in NAMES:
        raise UserError(f"prepare {args.name}: no such algorithm; there is {', '.join(NAMES)}")
    pets = official.read(args.data)
    if args.split == "random":
        train, validation = official.random_split(official.all_photos(pets), args.fraction, args.seed)
    else:
        train, validation = list(pets.trainval), list(pets.test)
    summary = write_channels(
        pets, train, validation, args.out, form=args.format, classes=args.classes, seed=args.seed, force=args.force
    )
    for line in report(summary):
        print(line)
    print(f"Channels: {args.out}")
    print(f"Set num_classes={len(summary.class_names)} num_training_samples={summary.counts['train']}")
    return 0


def write_channels(
    pets: Pets,
    train: Sequence[Pet],
    validation: Sequence[Pet],
    out: Path,
    *,
    form: str = "image",
    classes: str = "breed",
    seed: int = 0,
    force: bool = False,
) -> Summary:
    """Write the channels of image classification into the folder `out`; nothing is left there unless all of it is.

    Image form: train/CLASS/NAME.jpg, train_lst/train.lst and classes.txt, the same for validation. RecordIO form:
    train/train.rec and classes.txt. classes.txt holds one class name a line, by label. The training list's order is
    shuffled by `seed`, so that a reader in sequence meets all classes.

    Raises UserError when `out` is not empty and `force` is False, or when a class has no readable photo to train on.
    """
    if out.exists() and not force and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"--out {out} is there already and not empty: name another folder, or add --force to replace it"
        )
    shuffled = list(train)
    random.Random(seed).shuffle(shuffled)
    names = official.class_names([*train, *validation], classes)
    summary = Summary(names, strays=_strays(pets), unlisted=_unused(pets, [*train, *validation]))
    with _replacing(out) as building:
        total = len(shuffled) + len(validation)
        with Progress("Preparing", total, "photos") as progress, ThreadPoolExecutor(cpu_count()) as pool:
            for channel, chosen in (("train", shuffled), ("validation", list(validation))):
                labelled = [(pet, names.index(official.class_of(pet, classes))) for pet in chosen]
                photos = _readable(pets, labelled, summary, pool, progress)
                write = _write_recordio if form == "recordio" else _write_images
                labels = write(building, channel, photos, names)
                summary.counts[channel] = len(labels)
                missing = [name for label, name in enumerate(names) if label not in set(labels)]
                if missing and (channel == "train" or not labels):
                    raise UserError(
                        f"{pets.images}: no readable photo of {', '.join(missing[:_NAMED])} for the {channel} channel: "
                        "add some, or take the class out of the lists"
                    )
    return summary


def photos(channels: Path, channel: str) -> list[tuple[Path, int]]:
    """The photos of a channel in image form with their labels, in the order of its .lst."""
    listing = channels / f"{channel}_lst" / f"{channel}.lst"
    rows = (line.split("\t") for line in listing.read_text(encoding="utf-8").splitlines())
    return [(channels / channel / path, int(label)) for _, label, path in rows]


def report(summary: Summary) -> list[str]:
    """The summary in lines: what was skipped or made anew with the first files by name, then the counts."""
    lines: list[str] = []
    for files, what in (
        (summary.strays, "no photos, skipped"),
        (summary.unlisted, "photos that the split does not name, not used"),
        (summary.unreadable, "listed photos that cannot be read, skipped"),
        (summary.reencoded, f"photos made JPEG anew (quality {QUALITY})"),
    ):
        if files:
            more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
            lines.append(f"{len(files)} {what}: {', '.join(files[:_NAMED])}{more}")
    counts = summary.counts
    lines.append(
        f"{counts['train']} photos to train on, {counts['validation']} to validate on, "
        f"{len(summary.class_names)} classes"
    )
    return lines


def _readable(
    pets: Pets, labelled: Sequence[tuple[Pet, int]], summary: Summary, pool: ThreadPoolExecutor, progress: Progress
) -> Iterator[tuple[Pet, int, bytes]]:
    """The photos that can be read, in order, with label and JPEG bytes; a chunk at a time to keep memory small."""
    before = sum(summary.counts.values()) + len(summary.unreadable)
    for start in range(0, len(labelled), _CHUNK):
        chunk = labelled[start : start + _CHUNK]
        taken = pool.map(_take, [pets.photo(pet) for pet, _ in chunk])
        for offset, ((pet, label), (data, remark)) in enumerate(zip(chunk, taken, strict=True), start=start + 1):
            progress.done(before + offset)
            file = pets.photo(pet).name
            if data is None:
                summary.unreadable.append(f"{file} {remark}")
                continue
            if remark:
                summary.reencoded.append(f"{file} {remark}")
            yield pet, label, data


def _take(path: Path) -> tuple[bytes | None, str]:
    """The bytes for the channel and why they were made anew ("" if not); None and the reason if unreadable."""
    try:
        data = path.read_bytes()
        image = preprocess.decode(data)
    except FileNotFoundError:
        return None, "does not exist"
    except preprocess.UnreadableImage as error:
        return None, str(error)
    reason = _why_anew(data)
    if not reason:
        return data, ""
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue(), reason


def _why_anew(data: bytes) -> str:
    """What other tools would read differently from us, in words; "" for an upright RGB or greyscale JPEG."""
    with Image.open(io.BytesIO(data)) as header:
        if header.format != "JPEG":
            return f"is a {header.format}"
        if header.mode not in ("RGB", "L"):
            return f"is {header.mode}"
        if header.getexif().get(_EXIF_ORIENTATION, 1) not in (0, 1):
            return "is turned by EXIF"
    return ""


def _write_images(
    building: Path, channel: str, photos: Iterator[tuple[Pet, int, bytes]], names: Sequence[str]
) -> list[int]:
    """The image form of one channel; returns the labels written."""
    labels: list[int] = []
    (building / channel).mkdir()
    lists = building / f"{channel}_lst"
    lists.mkdir()
    for folder in names:
        (building / channel / folder).mkdir()
    with (lists / f"{channel}.lst").open("w", encoding="utf-8") as listing:
        for pet, label, data in photos:
            relative = f"{names[label]}/{pet.name}.jpg"
            (building / channel / relative).write_bytes(data)
            listing.write(f"{len(labels)}\t{label}\t{relative}\n")
            labels.append(label)
    _write_class_names(lists, names)
    return labels


def _write_recordio(
    building: Path, channel: str, photos: Iterator[tuple[Pet, int, bytes]], names: Sequence[str]
) -> list[int]:
    """The RecordIO form of one channel; returns the labels written."""
    labels: list[int] = []
    (building / channel).mkdir()
    with recordio.Writer(building / channel / f"{channel}.rec") as records:
        for _, label, data in photos:
            records.write(recordio.pack_image(float(label), len(labels), data))
            labels.append(label)
    _write_class_names(building / channel, names)
    return labels


def _write_class_names(folder: Path, names: Sequence[str]) -> None:
    (folder / "classes.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _strays(pets: Pets) -> list[str]:
    """Files among the photos that are none by their name: .mat files, macOS's ._ files."""
    return sorted(
        file.name for file in pets.images.iterdir() if file.suffix.lower() != ".jpg" or file.name.startswith(".")
    )


def _unused(pets: Pets, used: Sequence[Pet]) -> list[str]:
    """Photos by name that are on neither side of the split."""
    listed = {pet.name for pet in used}
    return sorted(
        file.name
        for file in pets.images.iterdir()
        if file.suffix.lower() == ".jpg" and not file.name.startswith(".") and file.stem not in listed
    )


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its place when the block succeeds and goes when it fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    building = out.with_name(f".{out.name}.{os.getpid()}.part")
    building.mkdir()
    try:
        yield building
        if out.exists():
            shutil.rmtree(out)
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1: 0.8 trains on four fifths")
    return value
