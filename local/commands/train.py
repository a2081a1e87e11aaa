"""`python3 -m local train NAME`: train an image in SageMaker local mode, with SDK v3.

The job gets the files that a cloud job would get; its model.tar.gz is what `deploy` and SageMaker itself can serve.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from local.commands import options
from local.errors import UserError
from local.images import TRAINING
from local.sagemaker import docker, sdk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`."""
    options.add_name(parser, TRAINING)
    parser.add_argument(
        "--channels", type=Path, required=True, help="folder with a folder per channel, as `prepare` writes it"
    )
    parser.add_argument(
        "--hyperparameters",
        nargs="+",
        action="extend",
        type=_pair,
        default=[],
        metavar="NAME=VALUE",
        help="as the built-in's: num_classes=3 num_training_samples=300 epochs=2",
    )
    options.add_image(parser)
    parser.add_argument("--out", type=Path, help="folder that gets model.tar.gz (default: .local/NAME)")


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError or CommandFailed with what went wrong."""
    hyperparameters = _unique(args.hyperparameters)
    image = args.image or sdk.default_image(args.name)
    docker.check(image)
    inputs = sdk.channels(args.channels)
    out: Path = args.out or Path(".local") / args.name
    with docker.workspace(out, image) as root:
        model = sdk.fit(image, hyperparameters, inputs, root)
        os.replace(model, out / "model.tar.gz")
    print(f"model  {out / 'model.tar.gz'}")
    return 0


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
