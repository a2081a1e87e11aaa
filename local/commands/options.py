"""The arguments that several commands share. Standard library only, of Python 3.9, for `build`."""

import argparse
from collections.abc import Iterable

from local.sagemaker.invocations import PORT


def add_name(parser: argparse.ArgumentParser, images: Iterable[str]) -> None:
    """The name of an image, one of `images`."""
    parser.add_argument("name", metavar="NAME", choices=images, help=f"image: {', '.join(images)}")


def add_names(parser: argparse.ArgumentParser, images: Iterable[str]) -> None:
    """The names of one or more images, of `images`."""
    parser.add_argument("names", metavar="NAME", nargs="+", choices=images, help=f"image: {', '.join(images)}")


def add_image(parser: argparse.ArgumentParser) -> None:
    """The option --image of the commands that start a container."""
    parser.add_argument("--image", help="reference of the image (default: what `make build/NAME` made)")


def add_port(parser: argparse.ArgumentParser, text: str) -> None:
    """The option --port of the commands that have an endpoint; `text` is its help."""
    parser.add_argument("--port", type=_port, default=PORT, help=f"{text} (default: {PORT})")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a whole number from 1 to 65535")
    return int(text)
