"""`python3 -m local weights NETWORK FILE --out DIR`: checks a weight file and writes it in the form that jobs take.

That form is DIR/NETWORK.safetensors with torchvision's names and float32 values: PyTorch's tools read it too.
"""

import argparse
import hashlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from local import ENVIRONMENTS, ROOT
from local.files import replacing
from train.errors import UserError
from train.weights import keras_files
from train.weights.files import NETWORKS, check, family_of, head, read

_MXNET_PYTHON = ENVIRONMENTS / "mxnet" / "bin" / "python"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("network", metavar="NETWORK", help=f"one of {', '.join(NETWORKS)}")
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="torchvision's or timm's .safetensors, or GluonCV's or a job's .params"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder to write to; made if missing")


def run(args: argparse.Namespace) -> int:
    """Convert and say what to do with the result; returns the exit code, 2 for a file that cannot be used."""
    if args.file.suffix in keras_files.SUFFIXES:
        print(
            f"{args.file} is a Keras file: image-classification-tensorflow reads it as it is, and no other image can; "
            "give its folder as the channel `pretrained`, or build with it: make build PRETRAINED=DIR",
            file=sys.stderr,
        )
        return 2
    if args.file.suffix == ".params" and importlib.util.find_spec("mxnet") is None:
        return _run_with_mxnet(args)
    try:
        made = convert(args.network, args.file, args.out)
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{made}: the weights of {args.network}, checked; {made.stat().st_size / 1e6:.1f} MB")
    print(f"PRETRAINED_SHA256={hashlib.sha256(made.read_bytes()).hexdigest()}")
    print("Next: give its folder as the channel `pretrained`, or build with it: make build PRETRAINED=DIR")
    return 0


def _run_with_mxnet(args: argparse.Namespace) -> int:
    """Run this command in the environment that has MXNet, which alone reads its own format."""
    if not _MXNET_PYTHON.exists():
        print(f"{args.file} needs MXNet to be read, and {_MXNET_PYTHON} is not there: run `make envs`", file=sys.stderr)
        return 2
    arguments = [args.network, args.file.resolve(), "--out", args.out.resolve()]
    command = [_MXNET_PYTHON, "-m", "local.commands.weights", *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False).returncode


def convert(network: str, file: Path, folder: Path) -> Path:
    """Write `folder`/`network`.safetensors from `file` and return its path.

    A ResNet's last layer comes along if it is there, and PyTorch's tools then find all they need. VGG's last three,
    half a gigabyte that no job uses, do not.
    Raises UserError for a file that is not `network`'s weights, OSError for one that cannot be read or written.
    """
    tensors = read(file, network)
    weights = check(tensors, network, file)
    if family_of(network).keeps_head:
        weights |= {name: np.ascontiguousarray(tensors[name], np.float32) for name in head(network) if name in tensors}
    made = folder / f"{network}.safetensors"
    with replacing(made) as partial:
        save_file(weights, partial, metadata={"format": "pt", "network": network, "converted_from": file.name})
    return made


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python3 -m local weights", description=__doc__)
    add_arguments(arguments)
    sys.exit(run(arguments.parse_args()))
