"""`python -m train.quantization MODEL --calibrate DIR`: an int8 graph for a model that exists, beside its float one.

The truth of the photos is not asked for: the gate compares answers alone.
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
from train import log
from train.data.samples import Sample
from train.errors import TrainError, UserError
from train.log import LOG
from train.quantization import closing, gate
from train.quantization.closing import Reference, Request
from train.verify import predict_with_server

_MOST = 300  # photos, of which a third calibrate
_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".ppm", ".webp", ".tif", ".tiff")


def main() -> int:
    """Return 0 when an int8 graph serves now, 1 when none has passed or the model failed, 2 for the user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m train.quantization", description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL", type=Path, help="folder with model.json and model.onnx")
    parser.add_argument("--calibrate", metavar="DIR", type=Path, required=True, help="photos like those of training")
    parser.add_argument("--seed", type=int, default=0, help="which of the photos calibrate (default: 0)")
    parser.add_argument("--full-range", action="store_true", help="weights of 8 bits, for processors with VNNI alone")
    arguments = parser.parse_args()
    log.configure()
    try:
        described = artifact.read(arguments.model)
        photos = list(islice(_readable(arguments.calibrate, described, arguments.seed), _MOST))
        if len(photos) < gate.PHOTOS:
            raise UserError(
                f"--calibrate {arguments.calibrate} holds {len(photos)} images that can be read, it takes at least "
                f"{gate.PHOTOS}: give more photos, like those that the model was trained on"
            )
        return int(not _quantize(arguments.model, described, photos, arguments))
    except (ArtifactError, UserError) as error:
        LOG.error("%s", error)
        return 2
    except TrainError as error:
        LOG.error("%s", error)
        return 1


def _quantize(folder: Path, described: Artifact, photos: Sequence[Sample[None]], arguments: argparse.Namespace) -> bool:
    if described.quantization is not None:  # the float graph is to answer, and what fails must not leave the old graph
        artifact.write(replace(described, quantization=None), folder)
        (folder / MODEL_INT8).unlink(missing_ok=True)
    third = len(photos) // 3
    options = ("--full-range",) if arguments.full_range else ()
    known = Reference(photos[third:], predict_with_server(folder, photos[third:]))
    return closing.quantize(folder, known, Request(photos[:third], (), arguments.seed, tolerance=0.0, options=options))


def _readable(folder: Path, described: Artifact, seed: int) -> Iterator[Sample[None]]:
    """Yield the images below `folder` in an order of chance; those that cannot be read are logged and left out.

    Raises UserError when `folder` is not one.
    """
    if not folder.is_dir():
        raise UserError(f"--calibrate {folder} is not a folder: give one with photos like those of training")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    for index in np.random.default_rng(seed).permutation(len(files)):
        sample = Sample(str(files[index]), None, files[index])
        try:
            preprocess.cut(sample.read(), described.input)
        except UnreadableImage as error:
            LOG.warning("%s: left out: the image %s", sample.name, error)
            continue
        yield sample


if __name__ == "__main__":
    sys.exit(main())
