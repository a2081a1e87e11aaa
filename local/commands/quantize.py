"""`python3 -m local quantize MODEL --calibrate DIR`: add an int8 graph to a model, if it answers like the float one.

MODEL is a folder with model.json and model.onnx, or a model.tar.gz; it is changed only where the int8 graph passes. DIR
holds photos like those that it was trained on, in folders or not: a third of them calibrate, on the others the answers
of both graphs are compared. docs/quantization.md says what is measured.
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
"""Those that have the quantiser; either takes the models of both."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `quantize`."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model's folder, or its model.tar.gz")
    parser.add_argument("--calibrate", metavar="DIR", type=Path, required=True, help="photos like those of training")
    parser.add_argument("--seed", type=int, default=0, help="which of the photos calibrate (default: 0)")
    parser.add_argument(
        "--full-range",
        action="store_true",
        help="weights of 8 bits in place of 7: on processors without VNNI the float graph serves then",
    )


def run(args: argparse.Namespace) -> int:
    """The command; 0 when an int8 graph serves now. Raises UserError, or CommandFailed when none has passed."""
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
    options = ["--seed", str(args.seed), *["--full-range"] * args.full_range]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *options], cwd=ROOT, env=environment, check=False)
    if done.returncode == 2:
        raise UserError(f"{args.model} cannot be quantised as asked: the reason is above")
    if done.returncode:
        raise CommandFailed(f"{args.model} serves in float, as before: the reason is above")


def _python() -> Path:
    found = [ENVIRONMENTS / name / "bin" / "python" for name in _ENVIRONMENTS]
    for python in found:
        if python.exists() and (ENVIRONMENTS / "serve" / "bin" / "python").exists():
            return python
    raise UserError(f"{found[0]} or the environment `serve` beside it is not there: run `make envs`")


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(folder, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise UserError(
            f"{archive} is not a folder, and cannot be read as a model.tar.gz ({error}): name one of the two"
        ) from None
