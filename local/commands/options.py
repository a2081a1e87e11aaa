"""The arguments that several commands share. Standard library only, of Python 3.9, for `build`."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from pathlib import Path

from local.errors import UserError
from local.images import VARIANTS
from local.sagemaker.invocations import PORT

_MOST_INSTANCES = 8  # containers of one machine
_RESULTS = ("model.tar.gz", "opt/ml/model", "predictions.png")


def add_name(parser: argparse.ArgumentParser, images: Iterable[str]) -> None:
    """The name of an image, one of `images`."""
    parser.add_argument("name", metavar="NAME", choices=images, help=f"image: {', '.join(images)}")


def add_names(parser: argparse.ArgumentParser, images: Iterable[str]) -> None:
    """The names of one or more images, of `images`."""
    parser.add_argument("names", metavar="NAME", nargs="+", choices=images, help=f"image: {', '.join(images)}")


def add_variant(parser: argparse.ArgumentParser) -> None:
    """The option --variant of the commands that are given a tag."""
    parser.add_argument(
        "--variant", choices=VARIANTS, default="cpu", help="gpu: images with CUDA, whose tag is TAG-gpu"
    )


def add_image(parser: argparse.ArgumentParser) -> None:
    """The option --image of the commands that start a container."""
    parser.add_argument("--image", help="reference of the image (default: what `make build/NAME` made)")


def add_port(parser: argparse.ArgumentParser, text: str) -> None:
    """The option --port of the commands that have an endpoint; `text` is its help."""
    parser.add_argument("--port", type=_port, default=PORT, help=f"{text} (default: {PORT})")


def add_instances(parser: argparse.ArgumentParser) -> None:
    """The option --instances of the commands that train in local mode."""
    parser.add_argument(
        "--instances",
        type=_instances,
        default=1,
        metavar="N",
        help="hosts of the training job, a container each (default: 1)",
    )


def run_folder(out: Path | None, default: Path) -> Path:
    """Return the folder of a new run: `out`, else `default`, numbered when an earlier run has results there.

    Raises UserError when `out` is there and not an empty folder.
    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"--out {out} is there already and not empty: name another folder")
        return out
    folders = (default.with_name(f"{default.name}-{number}") for number in itertools.count(2))
    return next(folder for folder in itertools.chain([default], folders) if not _has_result(folder))


def _has_result(folder: Path) -> bool:
    """Whether a run has ended in `folder`, or has begun to write a model."""
    return any((folder / name).is_file() or any((folder / name).glob("*")) for name in _RESULTS)


def _instances(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _MOST_INSTANCES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hosts: give 1 to {_MOST_INSTANCES}")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a whole number from 1 to 65535")
    return int(text)
