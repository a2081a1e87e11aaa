"""`python3 -m local build NAME`: build an image with Docker, as `make build/NAME` does.

Uses only the standard library of Python 3.9, so that an image can be built without an environment.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import serve
from local import ROOT
from local.commands import options
from local.errors import CommandFailed, UserError
from local.images import IMAGES

WEIGHTS = (".safetensors", ".params", ".h5", ".keras")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    options.add_name(parser, IMAGES)
    for option in ("registry", "tag", "platform", "base-image", "source"):
        parser.add_argument(f"--{option}", required=True, help="see docs/images.md")
    options.add_variant(parser)
    parser.add_argument("--pretrained", type=Path, metavar="DIR", help="weight files to copy to /opt/pretrained")


def run(args: argparse.Namespace) -> int:
    """Build the image. Raises UserError if weights or Docker are missing, CommandFailed if Docker fails."""
    if args.pretrained is not None:
        _check_weights(args.pretrained)
    _build(_command(args), _reference(args))
    return 0


def _check_weights(folder: Path) -> None:
    """Raise UserError unless the folder has a weight file."""
    if not folder.is_dir():
        raise UserError(f"PRETRAINED={folder} does not exist: give a folder with weight files (see docs/pretrained.md)")
    if not any(path.suffix in WEIGHTS for path in folder.iterdir()):
        raise UserError(
            f"PRETRAINED={folder} has no {', '.join(WEIGHTS[:-1])} or {WEIGHTS[-1]} file: put one there, or omit "
            "PRETRAINED= (see docs/pretrained.md)"
        )


def _reference(args: argparse.Namespace) -> str:
    """Return the image's full name."""
    return f"{args.registry}/{args.name}:{args.tag}{IMAGES[args.name].suffix(args.variant)}"


def _command(args: argparse.Namespace) -> list[str]:
    """Return the docker command.

    SageMaker rejects OCI manifests and image indexes, so the image has Docker media types and no attestations.
    """
    # CREATED is the date of the commit, so that the same tree gives the same image.
    variables = {
        "NAME": args.name,
        "BASE_IMAGE": args.base_image,
        "INFERENCE_IMAGE": f"{args.registry}/inference:{args.tag}",
        "VARIANT": args.variant,
        "LOCK": IMAGES[args.name].lock(args.variant).relative_to(ROOT).as_posix(),
        "VERSION": serve.__version__,
        "REVISION": _git("rev-parse", "HEAD") + ("-dirty" if _git("status", "--porcelain") else ""),
        "CREATED": _git("show", "-s", "--format=%cI", "HEAD"),
        "SOURCE": args.source,
    }
    command = ["docker", "buildx", "build", str(ROOT), "--file", str(IMAGES[args.name].dockerfile)]
    command += ["--platform", args.platform, "--provenance=false", "--sbom=false"]
    command += ["--output", f"type=image,name={_reference(args)},oci-mediatypes=false"]
    command += [f"--build-arg={name}={value}" for name, value in variables.items()]
    if args.pretrained:
        command += ["--build-context", f"pretrained={args.pretrained}"]
    return command


def _build(command: list[str], image: str) -> None:
    """Run the command. Without a terminal, Docker's output is printed only if it fails. Raises CommandFailed."""
    print(f"==> building {image} (2 min without a cache, seconds with one)", flush=True)
    start = time.monotonic()
    try:
        if sys.stderr.isatty():
            code = subprocess.run(command, check=False).returncode
        else:
            with tempfile.TemporaryFile() as log:
                command = [*command, "--progress=plain"]
                code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
                if code:
                    log.seek(0)
                    shutil.copyfileobj(log, sys.stderr.buffer)
    except FileNotFoundError:
        raise UserError("docker is not on PATH: install Docker") from None
    if code:
        raise CommandFailed(f"`docker buildx build` of {image} failed with exit code {code}: see its output above")
    print(f"==> built {image} in {time.monotonic() - start:.0f} s{_size(image)}")


def _size(image: str) -> str:
    """Return `, 450 MB`, the image's size; "" if the builder did not load the image into the engine."""
    command = ["docker", "image", "inspect", "--format", "{{.Size}}", image]
    size = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return f", {int(size) / 1e6:.0f} MB" if size.isdecimal() else ""


def _git(*arguments: str) -> str:
    """Return the output of a git command; "" if this is not a clone or git is missing."""
    try:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""
