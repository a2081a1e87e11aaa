"""`python3 -m local quantize MODEL --calibrate DIR`: add an int8 graph to a model, if its predictions match.

MODEL is a folder with model.json and model.onnx, or a model.tar.gz; it is changed only if the int8 graph passes. DIR
has photos like the training photos, with or without subfolders. A third of them calibrate the int8 graph; on the rest,
its predictions are compared with the float graph's. See docs/quantization.md.
"""

import argparse
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from local import ENVIRONMENTS, ROOT
from local.errors import CommandFailed, UserError
from local.files import replacing

_ENVIRONMENTS = ("mxnet", "tensorflow")
"""The environments with the quantizer; each can quantize the models of both frameworks."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="folder of a model, or a model.tar.gz")
    parser.add_argument(
        "--calibrate", metavar="DIR", type=Path, required=True, help="folder of photos like the training photos"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for choosing the calibration photos (default: 0)")
    parser.add_argument(
        "--full-range",
        action="store_true",
        help="use 8-bit instead of 7-bit weights; processors without VNNI then serve the float graph",
    )


def run(args: argparse.Namespace) -> int:
    """Add an int8 graph and return 0. Raises UserError, or CommandFailed if the graph does not pass."""
    python = _python()
    if args.model.is_dir():
        _quantize(python, args.model, args)
        return 0
    with tempfile.TemporaryDirectory(prefix="quantize-", dir=args.model.absolute().parent) as temporary:
        folder = Path(temporary) / "model"
        _unpack(args.model, folder)
        _quantize(python, folder, args)
        with replacing(args.model) as partial, tarfile.open(partial, "w:gz") as archive:
            for path in sorted(folder.iterdir()):
                archive.add(path, path.name)
    return 0


def _quantize(python: Path, folder: Path, args: argparse.Namespace) -> None:
    command = [python, "-m", "train.quantization", folder.absolute(), "--calibrate", args.calibrate.absolute()]
    options = ["--seed", str(args.seed)]
    if args.full_range:
        options.append("--full-range")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = subprocess.run([*command, *options], cwd=ROOT, env=environment, check=False).returncode
    if code == 2:
        raise UserError(f"{args.model} cannot be quantized: see the reason above")
    if code:
        raise CommandFailed(f"{args.model} was not quantized and still serves the float graph: see the reason above")


def _python() -> Path:
    candidates = [ENVIRONMENTS / name / "bin" / "python" for name in _ENVIRONMENTS]
    for python in candidates:
        if python.exists() and (ENVIRONMENTS / "serve" / "bin" / "python").exists():
            return python
    raise UserError(f"{candidates[0]} or the environment `serve` does not exist: run `make envs`")


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise UserError(
            f"{archive} is not a folder and cannot be read as a model.tar.gz ({error}): give a model's folder or its "
            "model.tar.gz"
        ) from None
