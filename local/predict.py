"""`python -m local predict PHOTO ...`: send photos to an endpoint of SageMaker local mode, with SDK v3.

Prints a line per photo: its path, the predicted class and that class's probability; or, with --accept, the answer.
"""

import argparse
import json
from pathlib import Path

from local import sagemaker
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
        print(answer.rstrip() if args.accept else f"{photo}  {best(answer)}", flush=True)
    return 0


def best(answer: str) -> str:
    """The predicted class and its probability, of an answer in the verbose form."""
    said = json.loads(answer)
    return f"{said['predicted_label']}  {max(said['probabilities']):.3f}"
