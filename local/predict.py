"""`python3 -m local predict PHOTO ...`: send photos to an endpoint of SageMaker local mode, with SDK v3.

Prints a line per photo, its path, the predicted class and that class's probability, or a line per detection, its path,
class, score and box in fractions of the photo; with --accept, the answer.
"""

import argparse
import json
from pathlib import Path

from local import algorithms, sagemaker
from local.deploy import PORT
from local.errors import UserError
from local.opt_ml import IMAGES

VERBOSE = "application/json;verbose"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `predict`."""
    parser.add_argument("photos", metavar="PHOTO", type=Path, nargs="+", help="image files")
    parser.add_argument("--port", type=int, default=PORT, help=f"that `deploy` was given (default: {PORT})")
    parser.add_argument("--content-type", default=IMAGES, help=f"default: {IMAGES}")
    parser.add_argument("--accept", help="print the answer in this form: application/json, application/jsonlines, ...")


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError for a file that is not there, LocalModeError for a refused photo."""
    endpoint = sagemaker.connect(args.port)
    for photo in args.photos:
        try:
            body = photo.read_bytes()
        except OSError as error:
            raise UserError(f"{photo} cannot be read: {error.strerror}; give the path of an image file") from None
        answer = endpoint.invoke(body, args.content_type, args.accept or VERBOSE).decode()
        lines = [answer.rstrip()] if args.accept else [f"{photo}  {line}" for line in readable(answer)]
        print("\n".join(lines), flush=True)
    return 0


def readable(answer: str) -> list[str]:
    """An answer in the verbose form, in lines that a person can read; as it is where no algorithm knows it."""
    said = json.loads(answer)
    told = (room.told(said) for room in algorithms.rooms())
    return next((lines for lines in told if lines is not None), [answer.rstrip()])
