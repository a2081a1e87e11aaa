"""`python3 -m local prepare NAME`: channels from your own photos, in any layout of docs/your-data.md.

The image form is what SageMaker's built-in reads as application/x-image: photos plus .lst files, or plus a JSON or PNG
file per photo; the RecordIO form is one .rec per channel. What is not an image is skipped and named. A clean JPEG goes
in byte for byte; what else can be read (a GIF or PNG by whatever name, CMYK, turned by EXIF) is made an upright JPEG.
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
UNUSED = "photos that the split does not name, not used"

Truth = TypeVar("Truth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prepare`."""
    parser.add_argument("name", metavar="NAME", help=f"algorithm: {', '.join(TRAINING)}")
    parser.add_argument("--data", type=Path, required=True, help="folder of photos, in a layout of --layout")
    layouts.add_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write; it gets one folder per channel")
    parser.add_argument(
        "--format",
        choices=_choices(lambda algorithm: algorithm.formats),
        default="image",
        help="image: photos + .lst, JSON or PNG masks; recordio: one .rec per channel",
    )
    parser.add_argument(
        "--split",
        choices=("official", "random"),
        help="official: the one that the data set has, such as folders train and val; random: all photos "
        "(default: official where there is one)",
    )
    parser.add_argument(
        "--validation",
        type=_share,
        metavar="SHARE",
        help=f"share of each class to hold out in a random split (default: {HELD_OUT})",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random split and of the training list's order")
    parser.add_argument(
        "--classes",
        choices=_choices(lambda algorithm: algorithm.classes),
        help="the classes of the pet data set. trimap: the pixels 1, 2, 3 of the trimaps as they are; pet: the same as "
        f"0, 1, 2 with their names, by a label_map channel (default: {_default_classes()})",
    )
    parser.add_argument("--force", action="store_true", help="replace --out if it is there")


def run(args: argparse.Namespace) -> int:
    """The command. Returns the exit code; raises UserError for what the user can fix."""
    if args.name not in TRAINING:
        raise UserError(f"prepare {args.name}: no such algorithm; there are {', '.join(TRAINING)}")
    algorithm = algorithms.get(args.name)
    if args.classes is not None:
        _check_offered(args.name, "--classes", args.classes, algorithm.classes)
    found = layouts.detect(args.data, args.layout, algorithm.task)
    print(found)
    if args.classes is not None and found.name != layouts.PETS:
        raise UserError(f"--classes {args.classes} is for the pet data set, and {found}: leave it out")
    data = found.read(algorithm.task, args.classes or algorithm.classes[0])
    train, validation = split(data, args.split, args.validation, args.seed)
    cache = PhotoCache()
    summary = write_channels(
        *(data, train, validation, args.out),
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
    """The photos to train on and to validate on; `how` None means the data set's own split where it has one.

    `validation` is the share of each class to hold out in a random split; None means HELD_OUT.
    Raises UserError when the data set has no split of its own, or when `validation` is for another one.
    """
    how = how or ("official" if data.has_split else "random")
    if how == "official" and not data.has_split:
        raise UserError(
            f"--split official: {data.root} has no split of its own for this, such as folders train and val: take "
            "--split random, the default"
        )
    if validation is not None and how != "random":
        raise UserError(
            f"--validation {validation} is for --split random, and this split is {how}: add --split random, or leave "
            "--validation out"
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
    """Write the channels of the algorithm `name` into the folder `out`; nothing is left there unless all of it is.

    The image form is the algorithm's own, see its module. RecordIO form: train/train.rec and classes.txt, the same for
    validation; classes.txt holds one class name a line, by label. The order of the training photos is shuffled by
    `seed`, so that a reader in sequence meets all classes. `cache` keeps what is seen of the photos.

    Raises UserError when the algorithm has no such form, when `out` is not empty and `force` is False, when it holds
    the data set or is a part of it, when most annotations cannot be used, or when a class has nothing to train on.
    """
    _check_apart(out, data.root)
    if out.exists() and not force and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"--out {out} is there already and not empty: name another folder, or add --force to replace it"
        )
    algorithm = algorithms.get(name)
    _check_offered(name, "--format", form, algorithm.formats)
    shuffled = list(train)
    random.Random(seed).shuffle(shuffled)
    summary = Summary(algorithm.ordered(data.class_names), data.pixels, data.multi_label)
    used = {entry.path for entry in (*train, *validation)}
    summary.files = {done: list(files) for done, files in data.notes.items()}
    # In the order in which they will be told, whatever is met first.
    summary.files |= {UNUSED: [entry.path.name for entry in data.entries if entry.path not in used]}
    summary.files |= {channels.UNREADABLE: [], channels.REENCODED: []}

    def truth(entry: Entry[Target], taken: LoadedPhoto) -> Any:
        return algorithm.truth(entry, taken, summary)

    with replacing(out) as building:
        building.mkdir()
        total = len(shuffled) + len(validation)
        with Progress("Preparing", total, "photo") as progress, ThreadPoolExecutor(cpu_count()) as pool:
            before = 0
            for channel, chosen in ((TRAIN, shuffled), (VALIDATION, list(validation))):
                photos = channels.load_photos(chosen, truth, summary, pool, progress, before, cache)
                _write_channel(algorithm, building / channel, photos, summary, form, data.root)
                before += len(chosen)
        require_usable(data.root, sum(summary.counts.values()), summary.files.get(UNUSABLE, []))
    return summary


def photos(folder: Path, channel: str, name: str = "image-classification") -> list[tuple[Path, Any]]:
    """The photos of a channel in image form below `folder`, each with what is true of it: label, boxes, mask."""
    return algorithms.get(name).photos(folder, channel)


def report(summary: Summary) -> list[str]:
    """The summary in lines: what was skipped or re-encoded, with the first files by name, then the counts."""
    lines: list[str] = []
    for done, files in summary.files.items():
        if files:
            more = f" and {len(files) - MAX_NAMED} more" if len(files) > MAX_NAMED else ""
            lines.append(printable(f"{done}: {len(files)} ({', '.join(files[:MAX_NAMED])}{more})"))
    counts = summary.counts
    lines.append(
        f"{plural(counts['train'], 'photo')} to train on, {counts['validation']} to validate on, "
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
    """Write one channel, count its photos, and see to it that no class is missing where it has to be learnt."""
    channel = folder.name
    seen: set[int] = set()

    def noted() -> Iterator[Photo[Truth]]:
        for photo in photos:
            summary.counts[channel] += 1
            seen.update(algorithm.labels(photo.truth))
            yield photo

    folder.mkdir()
    if form == "recordio":
        channels.write_recordio(folder, noted(), algorithm.record_label, summary)
        channels.write_class_names(folder, summary.class_names)
    else:
        algorithm.write_images(folder.parent, channel, noted(), summary)
    missing = [name for label, name in enumerate(summary.class_names) if label not in seen and name != NO_CLASS]
    if not missing:
        return
    if not seen or (channel == TRAIN and algorithm.needs_all_classes):
        reasons = [*summary.files.get(UNUSABLE, []), *summary.files[channels.UNREADABLE]]
        left_out = f"; {len(reasons)} were left out, the first: {reasons[0]}" if reasons else ""
        raise UserError(
            f"{root}: no readable {algorithm.usable} of {', '.join(missing[:MAX_NAMED])} for the {channel} channel: "
            f"add some, or take the class out of the data set{left_out}"
        )
    if channel == TRAIN:
        summary.files[f"classes without a {algorithm.usable} to train on"] = missing


def _check_apart(out: Path, root: Path) -> None:
    """Raises UserError when `out` would replace the data set, or be a part of it the next time."""
    new, data = out.resolve(), root.resolve()
    if new == data or new in data.parents or data in new.parents:
        raise UserError(f"--out {out} and --data {root} overlap: give a folder beside the data set")


def _check_offered(name: str, option: str, value: str, offered: Sequence[str]) -> None:
    """Raises UserError when the algorithm `name` has no such `value` of an option."""
    if value not in offered:
        raise UserError(f"{option} {value} is not for {name}: take {' or '.join(offered)}")


def _choices(offer: Callable[[Algorithm[Any, Any]], tuple[str, ...]]) -> list[str]:
    """What any algorithm offers."""
    return list(dict.fromkeys(value for algorithm in algorithms.get_all() for value in offer(algorithm)))


def _default_classes() -> str:
    """`breed; object-detection: species`: the first algorithm's default, and those that differ from it."""
    texts = {name: algorithms.get(name).classes[0] for name in TRAINING}
    first = texts[TRAINING[0]]
    return "; ".join([first, *(f"{name}: {text}" for name, text in texts.items() if text != first)])


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number: 0.2 holds out a fifth") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1: 0.2 holds out a fifth")
    return value
