"""`python3 -m local inspect NAME --channels DIR`: look at the data of a training job, and what will go wrong with it.

Takes the channels of anybody, in every form that the algorithm trains on, and reads them with training's own readers.
Writes dataset.html, a page that needs nothing else, and dataset.png; the warnings are printed too.
"""

import argparse
from pathlib import Path

from local.commands import options
from local.errors import UserError
from local.images import TRAINING
from local.inspection import report, settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `inspect`."""
    options.add_name(parser, TRAINING)
    parser.add_argument(
        "--channels", type=Path, required=True, help="folder with a folder per channel, as `prepare` writes it"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for dataset.html and dataset.png (default: beside the channels, in --channels)"
    )
    parser.add_argument(
        "--image-shape",
        type=settings.image_shape,
        metavar="SHAPE",
        help="input of the network that photos and boxes are compared with: 3,224,224 or 300 (default: the "
        "algorithm's; crop_size for semantic-segmentation)",
    )


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError for a channel that is missing."""
    judged_by = settings.defaults(args.name).at(args.image_shape)
    try:
        inspected = report.inspect(args.name, args.channels, args.out or args.channels, judged_by)
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read or written ({error.strerror}): see to its permissions, or name another "
            "folder with --out"
        ) from None
    print("\n".join(inspected.lines))
    return 0
