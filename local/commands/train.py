"""`python3 -m local train NAME`: train with an image in SageMaker local mode, with SDK v3.

The job gets the same files as in the cloud. Its model.tar.gz can be served by `deploy` and by SageMaker.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from local import workflow
from local.commands import options
from local.datasets import layouts
from local.datasets.photo_cache import PhotoCache
from local.errors import UserError
from local.images import TRAINING
from local.inspection import census, settings
from local.sagemaker import docker, sdk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    options.add_name(parser, TRAINING)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder of your photos, in any layout that `prepare` reads")
    source.add_argument("--channels", type=Path, help="folder with one folder per channel, as `prepare` writes it")
    layouts.add_argument(parser)
    parser.add_argument(
        "--hyperparameters",
        nargs="+",
        action="extend",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        help="hyperparameters of the algorithm, such as epochs=2 learning_rate=0.01; num_classes and "
        "num_training_samples are counted in the channels unless given",
    )
    options.add_image(parser)
    options.add_instances(parser)
    parser.add_argument(
        "--out", type=Path, help="folder for model.tar.gz (default: .local/NAME, or .local/NAME-2 if that has results)"
    )


def run(args: argparse.Namespace) -> int:
    """Train and write model.tar.gz. Raises UserError or CommandFailed."""
    hyperparameters = _unique(args.hyperparameters)
    loaded = workflow.load_data(args)
    image = args.image or sdk.default_image(args.name)
    docker.check(image)
    out = options.run_folder(args.out, Path(".local") / args.name)
    channels, cache = args.channels, PhotoCache()
    if loaded is not None:
        channels = out / "channels"
        sizes = workflow.write_channels(args.name, loaded, channels, cache).hyperparameters
        hyperparameters = {**{name: str(value) for name, value in sizes.items()}, **hyperparameters}
        workflow.inspect(args.name, channels, {}, cache)
    inputs = sdk.channels(channels)
    hyperparameters = _add_counts(args.name, channels, hyperparameters)
    print(f"Writing to {out}")
    with docker.workspace(out, image) as root:
        model = sdk.fit(image, hyperparameters, inputs, root, args.instances)
        os.replace(model, out / "model.tar.gz")
    print(f"model  {out / 'model.tar.gz'}")
    return 0


def _add_counts(name: str, channels: Path, hyperparameters: Mapping[str, str]) -> dict[str, str]:
    """Add the hyperparameters that can be counted in the channels, such as num_classes, unless they are given."""
    if {"num_classes", "num_training_samples"} <= hyperparameters.keys():
        return dict(hyperparameters)
    inspected = census.take(name, channels, settings.defaults(name), PhotoCache())
    counts = {key: str(value) for key, value in inspected.hyperparameters.items() if key not in hyperparameters}
    print(f"Counted in the channels: {' '.join(f'{key}={value}' for key, value in counts.items())}")
    return {**counts, **hyperparameters}


def _unique(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the values by name. Raises UserError if a name occurs twice."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise UserError(f"--hyperparameters has {name}={values[name]} and {name}={value}: remove one of them")
        values[name] = value
    return values


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text} is not of the form NAME=VALUE, such as epochs=2")
    return name, value
