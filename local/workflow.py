"""What `demo` and `local-mode` share: channels and a recipe before the training, questions and answers after it."""

import argparse
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from local import algorithms
from local.algorithms import report
from local.algorithms.algorithm import Algorithm, Hyperparameters
from local.commands import options, prepare
from local.datasets import layouts
from local.datasets.channels import Summary
from local.datasets.dataset import DataSet
from local.datasets.drawn import draw
from local.datasets.drawn.breeds import BREEDS
from local.datasets.photo_cache import PhotoCache
from local.images import TRAINING
from local.inspection import report as inspection
from local.inspection import settings
from local.progress import duration
from serve.words import plural


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The name of the image and the options --data, --layout, --epochs and --quantize."""
    options.add_name(parser, TRAINING)
    parser.add_argument("--data", type=Path, help="your photos, in any layout; without it, a data set is drawn")
    layouts.add_argument(parser)
    tried = {name: algorithms.get(name).epochs for name in TRAINING}
    defaults = "; ".join(f"{name}: {drawn}, with --data {real}" for name, (drawn, real) in tried.items())
    parser.add_argument("--epochs", type=_positive, help=f"default: {defaults}")
    parser.add_argument("--quantize", choices=("int8",), help="train with this value of the hyperparameter quantize")


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Says what begins and, when it is done, how long it took."""
    print(f"==> {what}", flush=True)
    start = time.monotonic()
    yield
    print(f"    done in {duration(time.monotonic() - start)}", flush=True)


@dataclass(frozen=True)
class Workflow:
    """The channels of an algorithm, what is in them, and the recipe to train on them."""

    algorithm: Algorithm[Any, Any]
    channels: Path
    summary: Summary
    recipe: Hyperparameters

    @property
    def work(self) -> str:
        """How much there is to train: `360 photos, 24 epochs`."""
        photos, epochs = self.summary.counts["train"], int(self.recipe["epochs"])
        return f"{plural(photos, 'photo')}, {plural(epochs, 'epoch')}"

    def ask(self, port: int) -> list[Any]:
        """The answers of the endpoint on `port` about the photos that were not trained on."""
        photos = self.algorithm.photos(self.channels, "validation")
        return report.ask_all(photos, report.over_http(port, self.algorithm.accept), self.algorithm.answer)


class Given(NamedTuple):
    """The data set of --data: in which layout it was found, and what it holds."""

    found: layouts.DetectedLayout
    data: DataSet[Any]


def read(args: argparse.Namespace) -> Given | None:
    """Read the data set of --data; None without the option. Raises UserError."""
    if args.data is None:
        return None
    algorithm = algorithms.get(args.name)
    found = layouts.detect(args.data, args.layout, algorithm.task)
    return Given(found, found.read(algorithm.task, algorithm.demo_classes))


def begin(args: argparse.Namespace, out: Path, given: Given | None) -> Workflow:
    """Write the channels of the `given` data set, or of one drawn into `out`, there in place of old ones."""
    channels = out / "channels"
    algorithm = algorithms.get(args.name)
    drawn = given is None
    if given is None:
        trainval, test = algorithm.photos_to_draw
        with step(f"Drawing {len(BREEDS) * (trainval + test)} photos of {len(BREEDS)} breeds"):
            draw.data_set(out / "data", trainval, test)
            found = layouts.DetectedLayout(out / "data", layouts.PETS, "it was drawn")
            given = Given(found, found.read(algorithm.task, algorithm.demo_classes))
    cache = PhotoCache()
    summary = write_channels(args.name, given, channels, cache)
    recipe = algorithm.recipe(drawn, args.epochs, summary.hyperparameters)
    if args.quantize is not None:
        recipe["quantize"] = args.quantize
    if not drawn:
        inspect(args.name, channels, recipe, cache)
    return Workflow(algorithm, channels, summary, recipe)


def write_channels(name: str, given: Given, channels: Path, cache: PhotoCache | None = None) -> Summary:
    """Write the channels of the algorithm `name` and say what is in them; `cache` gets those at the photos."""
    with step(f"Preparing the channels from {given.found.root}"):
        print(given.found)
        train, validation = prepare.split(given.data)
        summary = prepare.write_channels(given.data, train, validation, channels, name=name, force=True, cache=cache)
        print("\n".join(prepare.report(summary)))
    return summary


def inspect(name: str, channels: Path, hyperparameters: Mapping[str, object], cache: PhotoCache) -> None:
    """Write the page and the sheet about the channels of the algorithm `name` beside them, and print the findings."""
    inspected = inspection.inspect(name, channels, channels, settings.of(name, hyperparameters), cache)
    print("\n".join(inspected.lines))


def _positive(text: str) -> int:
    """A number of epochs from the command line."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of epochs: give a whole number of 1 or more")
    return int(text)
