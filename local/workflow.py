"""The steps that `demo`, `local-mode` and `train` share: preparing channels and a recipe, and predicting."""

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
    """Add the image's name and the options --data, --layout, --epochs and --quantize."""
    options.add_name(parser, TRAINING)
    parser.add_argument("--data", type=Path, help="folder of your photos, in any layout (default: draw a data set)")
    layouts.add_argument(parser)
    epochs = {name: algorithms.get(name).epochs for name in TRAINING}
    defaults = "; ".join(f"{name}: {drawn}, with --data {real}" for name, (drawn, real) in epochs.items())
    parser.add_argument("--epochs", type=_positive, help=f"number of epochs (default: {defaults})")
    parser.add_argument("--quantize", choices=("int8",), help="value of the hyperparameter quantize")


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print the name of a step, and its duration at the end."""
    print(f"==> {what}", flush=True)
    start = time.monotonic()
    yield
    print(f"    done in {duration(time.monotonic() - start)}", flush=True)


@dataclass(frozen=True)
class Workflow:
    """The channels of an algorithm, a summary of their contents, and the hyperparameters to train with."""

    algorithm: Algorithm[Any, Any]
    channels: Path
    summary: Summary
    recipe: Hyperparameters

    @property
    def workload(self) -> str:
        """The amount of training: `360 photos, 24 epochs`."""
        photos, epochs = self.summary.counts["train"], int(self.recipe["epochs"])
        return f"{plural(photos, 'photo')}, {plural(epochs, 'epoch')}"

    def predict(self, port: int) -> list[Any]:
        """Send the validation photos to the endpoint on `port` and return its predictions."""
        photos = self.algorithm.photos(self.channels, "validation")
        send = report.over_http(port, self.algorithm.accept)
        return report.predict_all(photos, send, self.algorithm.parse_response)


class LoadedData(NamedTuple):
    """A data set and its layout."""

    layout: layouts.DetectedLayout
    data: DataSet[Any]


def load_data(args: argparse.Namespace) -> LoadedData | None:
    """Read the data set of --data; return None without the option. Raises UserError."""
    if args.data is None:
        return None
    algorithm = algorithms.get(args.name)
    layout = layouts.detect(args.data, args.layout, algorithm.task)
    return LoadedData(layout, layout.read(algorithm.task, algorithm.demo_classes))


def prepare_training(args: argparse.Namespace, out: Path, loaded: LoadedData | None) -> Workflow:
    """Write the channels below `out`, replacing old ones; draw a data set if none was loaded."""
    channels = out / "channels"
    algorithm = algorithms.get(args.name)
    drawn = loaded is None
    if loaded is None:
        trainval, test = algorithm.photos_to_draw
        with step(f"Drawing {len(BREEDS) * (trainval + test)} photos of {len(BREEDS)} breeds"):
            draw.data_set(out / "data", trainval, test)
            layout = layouts.DetectedLayout(out / "data", layouts.PETS, "the demo drew it")
            loaded = LoadedData(layout, layout.read(algorithm.task, algorithm.demo_classes))
    cache = PhotoCache()
    summary = write_channels(args.name, loaded, channels, cache)
    recipe = algorithm.recipe(drawn, args.epochs, summary.hyperparameters)
    if args.quantize is not None:
        recipe["quantize"] = args.quantize
    if not drawn:
        inspect(args.name, channels, recipe, cache)
    return Workflow(algorithm, channels, summary, recipe)


def write_channels(name: str, loaded: LoadedData, channels: Path, cache: PhotoCache | None = None) -> Summary:
    """Write the channels of the algorithm `name` and print a summary; facts about the photos are added to `cache`."""
    with step(f"Preparing the channels from {loaded.layout.root}"):
        print(loaded.layout)
        train, validation = prepare.split(loaded.data)
        summary = prepare.write_channels(loaded.data, train, validation, channels, name=name, force=True, cache=cache)
        print("\n".join(prepare.report(summary)))
    return summary


def inspect(name: str, channels: Path, hyperparameters: Mapping[str, object], cache: PhotoCache) -> None:
    """Inspect the channels of the algorithm `name`, write dataset.html and dataset.png, and print the findings."""
    inspected = inspection.inspect(name, channels, channels, settings.of(name, hyperparameters), cache)
    print("\n".join(inspected.lines))


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of epochs: use a whole number of 1 or more")
    return int(text)
