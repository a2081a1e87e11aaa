"""Arguments that several commands share. Uses only the standard library of Python 3.9, because `build` imports it."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from pathlib import Path

from local.errors import UserError
from local.images import VARIANTS
from local.sagemaker.invocations import PORT

_MAX_INSTANCES = 8  # containers on one machine
_RESULTS = ("model.tar.gz", "opt/ml/model", "predictions.png")


def add_name(parser: argparse.ArgumentParser, images: Iterable[str]) -> None:
    """Add the argument NAME, one of `images`."""
    parser.add_argument("name", metavar="NAME", choices=images, help=f"image: {', '.join(images)}")


def add_names(parser: argparse.ArgumentParser, images: Iterable[str]) -> None:
    """Add the argument NAME, one or more of `images`."""
    parser.add_argument("names", metavar="NAME", nargs="+", choices=images, help=f"image: {', '.join(images)}")


def add_variant(parser: argparse.ArgumentParser) -> None:
    """Add the option --variant."""
    parser.add_argument(
        "--variant", choices=VARIANTS, default="cpu", help="gpu: images with CUDA, with the tag TAG-gpu (default: cpu)"
    )


def add_image(parser: argparse.ArgumentParser) -> None:
    """Add the option --image."""
    parser.add_argument("--image", help="image reference (default: the image that `make build/NAME` builds)")


def add_port(parser: argparse.ArgumentParser) -> None:
    """Add the option --port."""
    parser.add_argument("--port", type=_port, default=PORT, help=f"port of the endpoint (default: {PORT})")


def add_instances(parser: argparse.ArgumentParser) -> None:
    """Add the option --instances."""
    parser.add_argument(
        "--instances",
        type=_instances,
        default=1,
        metavar="N",
        help="number of hosts of the training job; each is a container (default: 1)",
    )


def run_folder(out: Path | None, default: Path) -> Path:
    """Return the folder of a new run: `out`, or `default` with a number if it has the results of an earlier run.

    Raises UserError if `out` exists and is not an empty folder.
    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"--out {out} already exists and is not empty: name another folder")
        return out
    folders = (default.with_name(f"{default.name}-{number}") for number in itertools.count(2))
    return next(folder for folder in itertools.chain([default], folders) if not _has_result(folder))


def _has_result(folder: Path) -> bool:
    """Return whether a run in `folder` has finished or started to write a model."""
    return any((folder / name).is_file() or any((folder / name).glob("*")) for name in _RESULTS)


def _instances(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= _MAX_INSTANCES):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hosts: give 1 to {_MAX_INSTANCES}")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    return int(text)
