"""`python3 -m local predict PHOTO ...`: send photos to an endpoint that `deploy` or `make serve` started.

Prints one or more lines per photo, which start with its path: the predicted class and its probability; or the class,
score and box (in fractions of the photo) of each detection; or the share of pixels of each class in a mask. --accept
prints the response instead; --masks also writes the masks. If a photo cannot be read or the endpoint rejects it, an
error is printed, and the remaining photos are still sent.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local import algorithms
from local.algorithms import semantic_segmentation
from local.commands import options
from local.errors import UserError
from local.files import replacing
from local.sagemaker import invocations
from local.sagemaker.opt_ml import IMAGES

VERBOSE = "application/json;verbose"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("photos", metavar="PHOTO", type=Path, nargs="+", help="image files")
    options.add_port(parser)
    parser.add_argument("--content-type", default=IMAGES, help=f"content type of the request (default: {IMAGES})")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--accept", help="print the response in this content type, such as application/json")
    output.add_argument("--masks", type=Path, metavar="DIR", help="write the mask of each PHOTO to DIR, as a PNG")


def run(args: argparse.Namespace) -> int:
    """Send the photos. Return 2 if a file cannot be read, 1 if the endpoint rejects one.

    Raises UserError if a response cannot be printed or has no mask, NoEndpointError if there is no endpoint.
    """
    masks = _mask_files(args.photos, args.masks) if args.masks else {}
    code = 0
    for photo in args.photos:
        try:
            response = invocations.invoke(args.port, photo.read_bytes(), args.content_type, args.accept or VERBOSE)
        except invocations.EndpointError as error:
            print(f"predict: {photo}: {error}", file=sys.stderr)
            code = max(code, 1)
            continue
        except OSError as error:
            print(
                f"predict: {photo} cannot be read ({error.strerror}): give the path of an image file", file=sys.stderr
            )
            code = 2
            continue
        text = _decode(response, args.accept)
        lines = [text.rstrip()] if args.accept else [f"{photo}  {line}" for line in readable(text)]
        if args.masks:
            _write_mask(json.loads(text), masks[photo])
        print("\n".join(lines), flush=True)
    return code


def readable(text: str) -> list[str]:
    """Format a verbose response for the terminal; return it unchanged if no algorithm recognizes it."""
    response = json.loads(text)
    formatted = (algorithm.response_lines(response) for algorithm in algorithms.get_all())
    return next((lines for lines in formatted if lines is not None), [text.rstrip()])


def _decode(response: bytes, accept: str | None) -> str:
    """Return a response as text. Raises UserError if it is not UTF-8."""
    try:
        return response.decode()
    except UnicodeDecodeError:
        raise UserError(
            f"--accept {accept} returns {len(response)} bytes that are not text: use --masks DIR to write masks as "
            "PNG files"
        ) from None


def _mask_files(photos: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """Return the path of each photo's mask. Raises UserError if two would be the same or one would replace a photo."""
    files = {photo: folder / f"{photo.stem}.png" for photo in photos}
    owners: dict[Path, Path] = {}
    for photo, file in files.items():
        owner = owners.setdefault(file, photo)
        if owner != photo:
            raise UserError(
                f"--masks {folder}: {owner} and {photo} would both be written to {file.name}: run the command once "
                "for each, with different folders"
            )
        if file.resolve() == photo.resolve():
            raise UserError(f"--masks {folder} would overwrite {photo}: name another folder")
    return files


def _write_mask(response: Mapping[str, Any], file: Path) -> None:
    mask = semantic_segmentation.mask_of(response)
    if mask is None:
        raise UserError(f"--masks {file.parent}: the endpoint's response has no mask: omit --masks")
    with replacing(file) as partial:
        partial.write_bytes(mask)
