"""`python3 -m local weights NETWORK FILE --out DIR`: check a weight file and convert it to the format of the images.

The result is DIR/NETWORK.safetensors, with torchvision's names and float32 values, which PyTorch can read too.
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
    parser.add_argument("network", metavar="NETWORK", help=f"network: {', '.join(NETWORKS)}")
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help=".safetensors file of torchvision or timm, or .params file of GluonCV or of a training job",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="output folder, created if missing")


def run(args: argparse.Namespace) -> int:
    """Convert the file and print the next steps. Return 0, or 2 if the file cannot be used."""
    if args.file.suffix in keras_files.SUFFIXES:
        print(
            f"{args.file} is a Keras file, which only image-classification-tensorflow can read, without conversion: "
            "use its folder as the channel `pretrained`, or build an image with it: make build PRETRAINED=DIR",
            file=sys.stderr,
        )
        return 2
    if args.file.suffix == ".params" and importlib.util.find_spec("mxnet") is None:
        return _run_with_mxnet(args)
    try:
        output = convert(args.network, args.file, args.out)
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{output}: checked weights of {args.network}, {output.stat().st_size / 1e6:.1f} MB")
    print(f"PRETRAINED_SHA256={hashlib.sha256(output.read_bytes()).hexdigest()}")
    print("Next: use its folder as the channel `pretrained`, or build an image with it: make build PRETRAINED=DIR")
    return 0


def _run_with_mxnet(args: argparse.Namespace) -> int:
    """Run this command in the MXNet environment, because only MXNet can read .params files."""
    if not _MXNET_PYTHON.exists():
        print(
            f"{args.file} can only be read by MXNet, but {_MXNET_PYTHON} does not exist: run `make envs`",
            file=sys.stderr,
        )
        return 2
    arguments = [args.network, args.file.resolve(), "--out", args.out.resolve()]
    command = [_MXNET_PYTHON, "-m", "local.commands.weights", *arguments]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False).returncode


def convert(network: str, file: Path, folder: Path) -> Path:
    """Write `folder`/`network`.safetensors from `file` and return its path.

    The last layer of a ResNet is kept if it is present, so that PyTorch can load the file. The last three layers of a
    VGG are dropped: they are half a gigabyte, and no job uses them. Raises UserError if `file` does not have the
    weights of `network`, OSError if a file cannot be read or written.
    """
    tensors = read(file, network)
    weights = check(tensors, network, file)
    if family_of(network).keeps_head:
        weights |= {name: np.ascontiguousarray(tensors[name], np.float32) for name in head(network) if name in tensors}
    output = folder / f"{network}.safetensors"
    with replacing(output) as partial:
        save_file(weights, partial, metadata={"format": "pt", "network": network, "converted_from": file.name})
    return output


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python3 -m local weights", description=__doc__)
    add_arguments(arguments)
    sys.exit(run(arguments.parse_args()))
