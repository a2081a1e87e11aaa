"""`python3 -m local prepare NAME`: an algorithm's channels from a data set: class folders, or the Oxford-IIIT Pet set.

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
from local.datasets.channels import NAMED, Photo, Summary, Taken
from local.datasets.dataset import DataSet, E, random_split
from local.errors import UserError
from local.files import replacing
from local.images import TRAINING
from local.progress import Progress
from serve.machine import cpu_count
from serve.words import plural

FRACTION = 0.8

Truth = TypeVar("Truth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `prepare`."""
    parser.add_argument("name", metavar="NAME", help=f"algorithm: {', '.join(TRAINING)}")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="folder of class folders (cat/1.jpg, or train/cat/1.jpg and val/cat/2.jpg), or the Oxford-IIIT Pet data "
        "set (images/, annotations/)",
    )
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
        choices=_choices(lambda algorithm: algorithm.splits),
        help="official: the one that the data set has, trainval.txt and test.txt, or folders train and val; random: "
        "all photos that have what the algorithm needs (default: "
        f"{_defaults(lambda algorithm: algorithm.splits)}; random where the data set has no split)",
    )
    parser.add_argument(
        "--fraction", type=_fraction, help=f"share of each class to train on, with --split random (default: {FRACTION})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random split and of the training list's order")
    parser.add_argument(
        "--classes",
        choices=_choices(lambda algorithm: algorithm.classes),
        help="the classes of the pet data set. trimap: the pixels 1, 2, 3 of the trimaps as they are; pet: the same as "
        f"0, 1, 2 with their names, by a label_map channel (default: {_defaults(lambda algorithm: algorithm.classes)})",
    )
    parser.add_argument("--force", action="store_true", help="replace --out if it is there")


def run(args: argparse.Namespace) -> int:
    """The command. Returns the exit code; raises UserError for what the user can fix."""
    if args.name not in TRAINING:
        raise UserError(f"prepare {args.name}: no such algorithm; there are {', '.join(TRAINING)}")
    print(layouts.described(args.data, args.layout))
    data = layouts.read(args.data, args.layout)
    train, validation = split(data, args.name, args.split, args.fraction, args.seed)
    summary = write_channels(
        data,
        train,
        validation,
        args.out,
        name=args.name,
        form=args.format,
        classes=args.classes,
        seed=args.seed,
        force=args.force,
    )
    for line in report(summary):
        print(line)
    print(f"Channels: {args.out}")
    print(f"Set num_classes={len(summary.class_names)} num_training_samples={summary.counts['train']}")
    return 0


def split(
    data: DataSet[E], name: str, how: str | None = None, fraction: float | None = None, seed: int = 0
) -> tuple[list[E], list[E]]:
    """The photos to train on and to validate on for the algorithm `name`; `how` None means its own default.

    `fraction` is the share of each class to train on in a random split; None means FRACTION.
    Raises UserError when the data set or the algorithm has no such split, when `fraction` is for another one, or
    without photos.
    """
    algorithm = algorithms.get(name)
    official = data.official()
    how = how or (algorithm.splits[0] if official else "random")
    if how == "official" and official is None:
        raise UserError(
            f"--split official: {data.place} has no split of its own, such as folders train and val: take --split "
            "random, the default"
        )
    if how not in algorithm.splits:
        raise UserError(
            f"--split {how} is not for {name}: the photos of test.txt have no annotations that it could be measured "
            f"on; take --split {algorithm.splits[0]}, the default"
        )
    if fraction is not None and how != "random":
        raise UserError(
            f"--fraction {fraction} is for --split random, and this split is {how}: add --split random, or leave "
            "--fraction out"
        )
    usable = algorithm.candidates(data)
    if how == "official" and official is not None:
        known = set(usable)
        train, validation = ([entry for entry in chosen if entry in known] for chosen in official)
        return train, validation
    return random_split(usable, data.group, fraction or FRACTION, seed)


def write_channels(
    data: DataSet[E],
    train: Sequence[E],
    validation: Sequence[E],
    out: Path,
    *,
    name: str = "image-classification",
    form: str = "image",
    classes: str | None = None,
    seed: int = 0,
    force: bool = False,
) -> Summary:
    """Write the channels of the algorithm `name` into the folder `out`; nothing is left there unless all of it is.

    The image form is the algorithm's own, see its module. RecordIO form: train/train.rec and classes.txt, the same for
    validation; classes.txt holds one class name a line, by label. `classes` is one of the data set's, or of the
    algorithm's where those depend on it, or None for the default. The order of the training photos is shuffled by
    `seed`, so that a reader in sequence meets all classes.

    Raises UserError when the algorithm has no such form or classes, when `out` is not empty and `force` is False, or
    when a class has nothing to train on.
    """
    if out.exists() and not force and (not out.is_dir() or any(out.iterdir())):
        raise UserError(
            f"--out {out} is there already and not empty: name another folder, or add --force to replace it"
        )
    algorithm = algorithms.get(name)
    offered = data.classes or algorithm.classes
    classes = classes or offered[0]
    _check_offered(name, "--format", form, algorithm.formats)
    _check_offered(data.layout if data.classes else name, "--classes", classes, offered)
    shuffled = list(train)
    random.Random(seed).shuffle(shuffled)
    summary = Summary(algorithm.class_names(data, [*train, *validation], classes), classes)
    left_out = {channels.STRAYS: data.strays(), algorithm.unused: data.unused([*train, *validation])}
    # In the order in which they will be told, whatever is met first.
    summary.files = left_out | {channels.UNREADABLE: [], channels.REENCODED: []}

    def truth(entry: E, taken: Taken) -> Any:
        return algorithm.truth(data, entry, taken, summary)

    with replacing(out) as building:
        building.mkdir()
        total = len(shuffled) + len(validation)
        with Progress("Preparing", total, "photo") as progress, ThreadPoolExecutor(cpu_count()) as pool:
            before = 0
            for channel, chosen in (("train", shuffled), ("validation", list(validation))):
                photos = channels.readable(data, chosen, truth, summary, pool, progress, before)
                _write_channel(algorithm, building / channel, photos, summary, form, data)
                before += len(chosen)
    return summary


def photos(folder: Path, channel: str, name: str = "image-classification") -> list[tuple[Path, Any]]:
    """The photos of a channel in image form below `folder`, each with what is true of it: label, boxes, mask."""
    return algorithms.get(name).photos(folder, channel)


def report(summary: Summary) -> list[str]:
    """The summary in lines: what was skipped or re-encoded, with the first files by name, then the counts."""
    lines: list[str] = []
    for done, files in summary.files.items():
        if files:
            more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
            lines.append(f"{done}: {len(files)} ({', '.join(files[:NAMED])}{more})")
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
    data: DataSet[Any],
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
        channels.write_recordio(folder, noted(), algorithm.record_label)
        channels.write_class_names(folder, summary.class_names)
    else:
        algorithm.write_images(folder.parent, channel, noted(), summary)
    names = enumerate(summary.class_names)
    missing = [name for label, name in names if label not in seen and name != channels.NO_CLASS]
    if missing and (channel == "train" or not seen):
        raise UserError(
            f"{data.place}: no readable {algorithm.usable} of {', '.join(missing[:NAMED])} for the {channel} channel: "
            "add some, or take the class out of the lists"
        )


def _check_offered(name: str, option: str, value: str, offered: Sequence[str]) -> None:
    """Raises UserError when the algorithm `name` has no such `value` of an option."""
    if value not in offered:
        raise UserError(f"{option} {value} is not for {name}: take {' or '.join(offered)}")


_Offer = Callable[[Algorithm[Any, Any]], tuple[str, ...]]


def _choices(offer: _Offer) -> list[str]:
    """What any algorithm offers."""
    return list(dict.fromkeys(value for algorithm in algorithms.get_all() for value in offer(algorithm)))


def _defaults(offer: _Offer) -> str:
    """`breed; object-detection: species`: the first algorithm's default, and those that differ from it."""
    texts = {name: offer(algorithms.get(name))[0] for name in TRAINING}
    first = texts[TRAINING[0]]
    return "; ".join([first, *(f"{name}: {text}" for name, text in texts.items() if text != first)])


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a number: 0.8 trains on four fifths") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1: 0.8 trains on four fifths")
    return value
