"""`python3 -m local inspect NAME --channels DIR`: check the channels of a training job for problems.

Accepts channels in any format that the algorithm can train on, and reads them with the code of the training job. Prints
the findings and writes them, with sample photos and statistics, to dataset.html (a single file) and dataset.png.
"""

import argparse
from pathlib import Path

from local.commands import options
from local.errors import UserError
from local.images import TRAINING
from local.inspection import report, settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    options.add_name(parser, TRAINING)
    parser.add_argument(
        "--channels", type=Path, required=True, help="folder with one folder per channel, as `prepare` writes it"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for dataset.html and dataset.png (default: the folder of --channels)"
    )
    parser.add_argument(
        "--image-shape",
        type=settings.image_shape,
        metavar="SHAPE",
        help="network input to compare the sizes of photos and boxes with, such as 3,224,224 or 300 (default: the "
        "algorithm's image_shape, or crop_size for semantic-segmentation)",
    )


def run(args: argparse.Namespace) -> int:
    """Inspect the channels. Raises UserError if a channel is missing."""
    hyperparameters = settings.defaults(args.name).with_shape(args.image_shape)
    try:
        inspection = report.inspect(args.name, args.channels, args.out or args.channels, hyperparameters)
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be read or written ({error.strerror}): check its permissions, or name another "
            "folder with --out"
        ) from None
    print("\n".join(inspection.lines))
    return 0
