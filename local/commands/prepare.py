"""`python3 -m local prepare NAME`: write the channels of a training job from your photos.

The data set can have any layout in docs/your-data.md. The image format is what SageMaker's built-in algorithms read as
application/x-image: photos with .lst files, class folders, or a JSON or PNG file per photo; the RecordIO format is one
.rec file per channel. Files that are not images are skipped and listed. An upright RGB or greyscale JPEG is copied
unchanged; other images (GIF, PNG, CMYK, rotated by EXIF) are converted to upright JPEGs.
"""

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from local import algorithms
from local.algorithms.algorithm import Algorithm
from local.datasets import channels, layouts
from local.datasets.channels import MAX_NAMED, LoadedPhoto, Photo, Summary
from local.datasets.dataset import NO_CLASS, TRAIN, UNUSABLE, VALIDATION, DataSet, Entry, Target, random_split
from local.datasets.names import printable
from local.datasets.notes import require_usable
from local.datasets.photo_cache import PhotoCache
from local.errors import UserError
from local.files import replacing
from local.images import TRAINING
from local.inspection import report as inspection
from local.inspection import settings
from local.progress import Progress
from serve.machine import cpu_count
from serve.words import plural

HELD_OUT = 0.2
UNUSED = "photos that are not in the split, not used"

Truth = TypeVar("Truth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("name", metavar="NAME", help=f"algorithm: {', '.join(TRAINING)}")
    parser.add_argument("--data", type=Path, required=True, help="folder with the data set")
    layouts.add_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write, with one folder per channel")
    parser.add_argument(
        "--format",
        choices=_choices(lambda algorithm: algorithm.formats),
        default="image",
        help="image: photos with .lst files, JSON files or PNG masks; recordio: one .rec file per channel (default: "
        "image)",
    )
    parser.add_argument(
        "--split",
        choices=("official", "random"),
        help="official: the split of the data set, such as folders train and val; random: a new split of all photos "
        "(default: official if there is one)",
    )
    parser.add_argument(
        "--validation",
        type=_fraction,
        metavar="FRACTION",
        help=f"fraction of each class to hold out in a random split (default: {HELD_OUT})",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the random split and of the order of training photos (default: 0)"
    )
    parser.add_argument(
        "--classes",
        choices=_choices(lambda algorithm: algorithm.classes),
        help="classes of the pet data set. trimap: the pixel values 1, 2, 3 of the trimaps; pet: the same as classes "
        f"0, 1, 2 with names, with a label_map channel (default: {_default_classes()})",
    )
    parser.add_argument("--force", action="store_true", help="replace --out if it exists")


def run(args: argparse.Namespace) -> int:
    """Write the channels and return 0. Raises UserError."""
    if args.name not in TRAINING:
        raise UserError(f"prepare {args.name}: unknown algorithm, use one of {', '.join(TRAINING)}")
    algorithm = algorithms.get(args.name)
    if args.classes is not None:
        _check_choice(args.name, "--classes", args.classes, algorithm.classes)
    layout = layouts.detect(args.data, args.layout, algorithm.task)
    print(layout)
    if args.classes is not None and layout.name != layouts.PETS:
        raise UserError(f"--classes {args.classes} is only for the pet data set: omit it ({layout})")
    data = layout.read(algorithm.task, args.classes or algorithm.classes[0])
    train, validation = split(data, args.split, args.validation, args.seed)
    cache = PhotoCache()
    summary = write_channels(
        data,
        train,
        validation,
        args.out,
        name=args.name,
        form=args.format,
        seed=args.seed,
        force=args.force,
        cache=cache,
    )
    inspected = inspection.inspect(args.name, args.out, args.out, settings.defaults(args.name), cache)
    for line in (*report(summary), *inspected.lines):
        print(line)
    print(f"Channels: {args.out}")
    print(f"Set {' '.join(f'{name}={value}' for name, value in summary.hyperparameters.items())}")
    return 0


def split(
    data: DataSet[Target], how: str | None = None, validation: float | None = None, seed: int = 0
) -> tuple[list[Entry[Target]], list[Entry[Target]]]:
    """Return the training and the validation photos. By default the data set's own split is used if it has one.

    `validation` is the fraction of each class to hold out in a random split; None means HELD_OUT. Raises UserError if
    the data set has no split for `how` "official", or if `validation` is given and the split is not random.
    """
    how = how or ("official" if data.has_split else "random")
    if how == "official" and not data.has_split:
        raise UserError(
            f"--split official: {data.root} has no split, such as folders train and val: omit the option for a "
            "random split"
        )
    if validation is not None and how != "random":
        raise UserError(
            f"--validation {validation} is for --split random, but this split is {how}: add --split random, or omit "
            "--validation"
        )
    if how == "official":
        return data.part(TRAIN), data.part(VALIDATION)
    return random_split(data.entries, 1 - (validation or HELD_OUT), seed)


def write_channels(
    data: DataSet[Target],
    train: Sequence[Entry[Target]],
    validation: Sequence[Entry[Target]],
    out: Path,
    *,
    name: str = "image-classification",
    form: str = "image",
    seed: int = 0,
    force: bool = False,
    cache: PhotoCache | None = None,
) -> Summary:
    """Write the channels of the algorithm `name` into the folder `out`. If that fails, `out` is not changed.

    The image format depends on the algorithm (see its module). RecordIO format: train/train.rec and train/classes.txt,
    the same for validation; classes.txt has one class name per line, in the order of the labels. The training photos
    are shuffled with `seed`, so that a sequential reader sees all classes. Facts about the photos are added to `cache`.

    Raises UserError if the algorithm does not support the format, `out` is not empty and `force` is False, `out` and
    the data set overlap, most annotations cannot be used, or a class that must be trained has no photo.
    """
    _check_no_overlap(out, data.root)
    if out.exists() and not force and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"--out {out} already exists and is not empty: name another folder, or add --force to replace it"
        )
    algorithm = algorithms.get(name)
    _check_choice(name, "--format", form, algorithm.formats)
    shuffled = list(train)
    random.Random(seed).shuffle(shuffled)
    summary = Summary(algorithm.ordered(data.class_names), data.pixels, data.multi_label)
    used = {entry.path for entry in (*train, *validation)}
    summary.files = {note: list(files) for note, files in data.notes.items()}
    # These entries fix the order of the report.
    summary.files |= {UNUSED: [entry.path.name for entry in data.entries if entry.path not in used]}
    summary.files |= {channels.UNREADABLE: [], channels.REENCODED: []}

    def truth(entry: Entry[Target], photo: LoadedPhoto) -> Any:
        return algorithm.truth(entry, photo, summary)

    with replacing(out) as building:
        building.mkdir()
        total = len(shuffled) + len(validation)
        with Progress("Preparing", total, "photo") as progress, ThreadPoolExecutor(cpu_count()) as pool:
            before = 0
            for channel, entries in ((TRAIN, shuffled), (VALIDATION, list(validation))):
                photos = channels.load_photos(entries, truth, summary, pool, progress, before, cache)
                _write_channel(algorithm, building / channel, photos, summary, form, data.root)
                before += len(entries)
        require_usable(data.root, sum(summary.counts.values()), summary.files.get(UNUSABLE, []))
    return summary


def photos(folder: Path, channel: str, name: str = "image-classification") -> list[tuple[Path, Any]]:
    """Return the photos of a channel in image format below `folder`, each with its label, boxes or mask."""
    return algorithms.get(name).photos(folder, channel)


def report(summary: Summary) -> list[str]:
    """Return the lines of the report: skipped and converted files with the first names, then the counts."""
    lines: list[str] = []
    for note, files in summary.files.items():
        if files:
            more = f" and {len(files) - MAX_NAMED} more" if len(files) > MAX_NAMED else ""
            lines.append(printable(f"{note}: {len(files)} ({', '.join(files[:MAX_NAMED])}{more})"))
    counts = summary.counts
    lines.append(
        f"{plural(counts['train'], 'training photo')}, {plural(counts['validation'], 'validation photo')}, "
        f"{plural(len(summary.class_names), 'class')}"
    )
    return lines


def _write_channel(
    algorithm: Algorithm[Truth, Any],
    folder: Path,
    photos: Iterator[Photo[Truth]],
    summary: Summary,
    form: str,
    root: Path,
) -> None:
    """Write one channel and count its photos. Raises UserError if a class that must be trained has no photo."""
    channel = folder.name
    seen: set[int] = set()

    def counted() -> Iterator[Photo[Truth]]:
        for photo in photos:
            summary.counts[channel] += 1
            seen.update(algorithm.labels(photo.truth))
            yield photo

    folder.mkdir()
    if form == "recordio":
        channels.write_recordio(folder, counted(), algorithm.record_label, summary)
        channels.write_class_names(folder, summary.class_names)
    else:
        algorithm.write_images(folder.parent, channel, counted(), summary)
    missing = [name for label, name in enumerate(summary.class_names) if label not in seen and name != NO_CLASS]
    if not missing:
        return
    if not seen or (channel == TRAIN and algorithm.needs_all_classes):
        reasons = [*summary.files.get(UNUSABLE, []), *summary.files[channels.UNREADABLE]]
        skipped = f"; {plural(len(reasons), 'photo')} skipped, the first: {reasons[0]}" if reasons else ""
        raise UserError(
            f"{root}: no readable {algorithm.sample_phrase} of {', '.join(missing[:MAX_NAMED])} for the {channel} "
            f"channel: add some, or remove the class from the data set{skipped}"
        )
    if channel == TRAIN:
        summary.files[f"classes without a training {algorithm.sample_phrase}"] = missing


def _check_no_overlap(out: Path, root: Path) -> None:
    """Raise UserError if `out` would replace the data set or become a part of it."""
    new, data = out.resolve(), root.resolve()
    if new == data or new in data.parents or data in new.parents:
        raise UserError(f"--out {out} and --data {root} overlap: use a folder outside the data set")


def _check_choice(name: str, option: str, value: str, choices: Sequence[str]) -> None:
    """Raise UserError if the algorithm `name` does not support the `value` of an option."""
    if value not in choices:
        raise UserError(f"{option} {value} is not supported by {name}: use {' or '.join(choices)}")


def _choices(get: Callable[[Algorithm[Any, Any]], tuple[str, ...]]) -> list[str]:
    """Return the values that at least one algorithm supports."""
    return list(dict.fromkeys(value for algorithm in algorithms.get_all() for value in get(algorithm)))


def _default_classes() -> str:
    """Return `breed; object-detection: species`: the first algorithm's default, and the others that differ."""
    texts = {name: algorithms.get(name).classes[0] for name in TRAINING}
    first = texts[TRAINING[0]]
    return "; ".join([first, *(f"{name}: {text}" for name, text in texts.items() if text != first)])


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number: use 0.2 to hold out a fifth") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1: use 0.2 to hold out a fifth")
    return value
