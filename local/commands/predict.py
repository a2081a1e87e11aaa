"""`python3 -m local predict PHOTO ...`: send photos to an endpoint on this machine, of `deploy` or `make serve`.

Prints a line per photo, its path, the predicted class and that class's probability; or a line per detection, its path,
class, score and box in fractions of the photo; or a line per class of a mask, its path, class and share of the photo's
pixels. With --accept, the answer; with --masks, the masks are written too. A photo that cannot be read or that the
endpoint refuses is named, and the others are sent all the same.
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
    """The options of `predict`."""
    parser.add_argument("photos", metavar="PHOTO", type=Path, nargs="+", help="image files")
    options.add_port(parser, "that `deploy` was given")
    parser.add_argument("--content-type", default=IMAGES, help=f"default: {IMAGES}")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--accept", help="print the answer in this form: application/json, application/jsonlines, ...")
    form.add_argument("--masks", type=Path, metavar="DIR", help="write the mask of each PHOTO into DIR, as a PNG")


def run(args: argparse.Namespace) -> int:
    """The command; 2 when a file could not be read, 1 when the endpoint refused one.

    Raises UserError for answers that cannot be printed or have no mask, NoEndpointError when nothing answers.
    """
    masks = _mask_files(args.photos, args.masks) if args.masks else {}
    code = 0
    for photo in args.photos:
        try:
            answer = invocations.invoke(args.port, photo.read_bytes(), args.content_type, args.accept or VERBOSE)
        except invocations.RefusedError as error:
            print(f"predict: {photo}: {error}", file=sys.stderr)
            code = max(code, 1)
            continue
        except OSError as error:
            print(f"predict: {photo} cannot be read: {error.strerror}; give the path of an image file", file=sys.stderr)
            code = 2
            continue
        text = _text(answer, args.accept)
        lines = [text.rstrip()] if args.accept else [f"{photo}  {line}" for line in readable(text)]
        if args.masks:
            _write_mask(json.loads(text), masks[photo])
        print("\n".join(lines), flush=True)
    return code


def readable(answer: str) -> list[str]:
    """An answer in the verbose form, in lines that a person can read; as it is where no algorithm knows it."""
    reply = json.loads(answer)
    read = (algorithm.reply_lines(reply) for algorithm in algorithms.get_all())
    return next((lines for lines in read if lines is not None), [answer.rstrip()])


def _text(answer: bytes, accept: str | None) -> str:
    """An answer as text. Raises UserError when it is none."""
    try:
        return answer.decode()
    except UnicodeDecodeError:
        raise UserError(
            f"--accept {accept} gives {len(answer)} bytes that are not text: --masks DIR writes masks as PNG files"
        ) from None


def _mask_files(photos: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """The file for the mask of each photo. Raises UserError when two would share one."""
    files = {photo: folder / f"{photo.stem}.png" for photo in photos}
    owners: dict[Path, Path] = {}
    for photo, file in files.items():
        other = owners.setdefault(file, photo)
        if other != photo:
            raise UserError(f"--masks {folder}: {other} and {photo} would both be {file.name}: ask about them in turn")
        if file.resolve() == photo.resolve():
            raise UserError(f"--masks {folder}: {photo} itself would be replaced: name another folder")
    return files


def _write_mask(answer: Mapping[str, Any], file: Path) -> None:
    mask = semantic_segmentation.mask_of(answer)
    if mask is None:
        raise UserError(f"--masks {file.parent}: this endpoint's answer has no mask: leave --masks out")
    with replacing(file) as partial:
        partial.write_bytes(mask)
