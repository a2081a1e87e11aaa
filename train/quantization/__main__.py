"""`python -m train.quantization MODEL --calibrate DIR`: add an int8 graph to an existing model.

The photos need no labels, because the gate compares only the predictions of both graphs.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from serve import artifact, preprocess
from serve.artifact import MODEL_INT8, Artifact, ArtifactError
from serve.preprocess import UnreadableImage
from serve.words import plural
from train import log
from train.data.samples import Sample
from train.errors import TrainError, UserError
from train.log import LOG
from train.quantization import gate, workflow
from train.quantization.workflow import Reference, Request
from train.verify import predict_with_server

_MAX_PHOTOS = 300  # a third of them is used for calibration
_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".ppm", ".webp", ".tif", ".tiff")


def main() -> int:
    """Return 0 if an int8 graph was accepted, 1 if none was or the model failed, 2 for invalid input."""
    parser = argparse.ArgumentParser(prog="python -m train.quantization", description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", type=Path, help="folder with model.json and model.onnx")
    parser.add_argument("--calibrate", metavar="DIR", type=Path, required=True, help="photos like the training photos")
    parser.add_argument("--seed", type=int, default=0, help="seed for the choice of calibration photos (default: 0)")
    parser.add_argument("--full-range", action="store_true", help="use 8-bit weights, only for processors with VNNI")
    arguments = parser.parse_args()
    log.configure()
    try:
        described = artifact.read(arguments.model)
        photos = list(islice(_readable(arguments.calibrate, described, arguments.seed), _MAX_PHOTOS))
        if len(photos) < gate.MIN_PHOTOS:
            raise UserError(
                f"--calibrate {arguments.calibrate} has {plural(len(photos), 'readable image')} but needs at least "
                f"{gate.MIN_PHOTOS}: add more photos, like those that the model was trained on"
            )
        return int(not _quantize(arguments.model, described, photos, arguments))
    except (ArtifactError, UserError) as error:
        LOG.error("%s", error)
        return 2
    except TrainError as error:
        LOG.error("%s", error)
        return 1


def _quantize(folder: Path, described: Artifact, photos: Sequence[Sample[None]], arguments: argparse.Namespace) -> bool:
    if described.quantization is not None:  # predict with the float graph, and keep no old int8 graph after a failure
        artifact.write(replace(described, quantization=None), folder)
        (folder / MODEL_INT8).unlink(missing_ok=True)
    third = len(photos) // 3
    options = ("--full-range",) if arguments.full_range else ()
    reference = Reference(photos[third:], predict_with_server(folder, photos[third:]))
    request = Request(photos[:third], (), arguments.seed, tolerance=0.0, options=options)
    return workflow.quantize(folder, reference, request)


def _readable(folder: Path, described: Artifact, seed: int) -> Iterator[Sample[None]]:
    """Yield the images in `folder` and its subfolders in random order. Unreadable images are logged and left out.

    Raises UserError if `folder` is not a folder.
    """
    if not folder.is_dir():
        raise UserError(f"--calibrate {folder} is not a folder: set it to a folder of photos like the training photos")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    for index in np.random.default_rng(seed).permutation(len(files)):
        sample = Sample(str(files[index]), None, files[index])
        try:
            preprocess.cut(sample.read(), described.input)
        except UnreadableImage as error:
            LOG.warning("%s is left out because it %s", sample.name, error)
            continue
        yield sample


if __name__ == "__main__":
    sys.exit(main())
