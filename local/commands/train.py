"""`python3 -m local train NAME`: train an image in SageMaker local mode, with SDK v3.

The job gets the files that a cloud job would get; its model.tar.gz is what `deploy` and SageMaker itself can serve.
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
    """The options of `train`."""
    options.add_name(parser, TRAINING)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="your photos, in any layout that `prepare` takes")
    source.add_argument("--channels", type=Path, help="folder with a folder per channel, as `prepare` writes it")
    layouts.add_argument(parser)
    parser.add_argument(
        "--hyperparameters",
        nargs="+",
        action="extend",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        help="as the built-in's: epochs=2 learning_rate=0.01; num_classes and num_training_samples are those of the "
        "channels, unless they are given",
    )
    options.add_image(parser)
    options.add_instances(parser)
    parser.add_argument(
        "--out",
        type=Path,
        help="folder that gets model.tar.gz (default: .local/NAME, or NAME-2 beside it where a run is)",
    )


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError or CommandFailed with what went wrong."""
    hyperparameters = _unique(args.hyperparameters)
    given = workflow.read(args)
    image = args.image or sdk.default_image(args.name)
    docker.check(image)
    out = options.run_folder(args.out, Path(".local") / args.name)
    channels, cache = args.channels, PhotoCache()
    if given is not None:
        channels = out / "channels"
        sizes = workflow.write_channels(args.name, given, channels, cache).hyperparameters
        hyperparameters = {**{name: str(value) for name, value in sizes.items()}, **hyperparameters}
        workflow.inspect(args.name, channels, {}, cache)
    inputs = sdk.channels(channels)
    hyperparameters = _counted(args.name, channels, hyperparameters)
    print(f"Writing to {out}")
    with docker.workspace(out, image) as root:
        model = sdk.fit(image, hyperparameters, inputs, root, args.instances)
        os.replace(model, out / "model.tar.gz")
    print(f"model  {out / 'model.tar.gz'}")
    return 0


def _counted(name: str, channels: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Fill in what the channels say of themselves, such as num_classes, where it is not given."""
    if {"num_classes", "num_training_samples"} <= given.keys():
        return dict(given)
    taken = census.take(name, channels, settings.defaults(name), PhotoCache())
    counted = {key: str(value) for key, value in taken.hyperparameters.items() if key not in given}
    print(f"Of the channels: {' '.join(f'{key}={value}' for key, value in counted.items())}")
    return {**counted, **given}


def _unique(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Values by name. Raises UserError when a name has two."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise UserError(f"--hyperparameters has {name}={values[name]} and {name}={value}: leave one out")
        values[name] = value
    return values


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE, like epochs=2")
    return name, value
