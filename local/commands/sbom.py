"""`python3 -m local sbom NAME...`: what is in built images, as sbom/NAME.cdx.json (CycloneDX).

Python's packages in /opt/serve and /opt/train by cyclonedx-bom, Debian's by debsbom, in one file. Nothing runs in the
image and nothing is added to it: both tools read what the packages' own records say, copied out of it.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

from local.commands import options
from local.errors import CommandFailed
from local.images import IMAGES
from local.sagemaker import sdk
from local.sagemaker.docker import DockerError, check_image

# What the tools read: records of Python packages by environment, dpkg's and apt's, and which Debian it is.
_PYTHON = re.compile(r"opt/(\w+)/lib/python3[.]\d+/site-packages/[^/]+[.]dist-info/(METADATA|RECORD|WHEEL|licenses/.+)")
_DEBIAN = re.compile(r"(var/lib/dpkg/(status|arch)|var/lib/apt/extended_states|(etc|usr/lib)/os-release)")
_VERSION = "1.6"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sbom`."""
    options.add_names(parser, IMAGES)
    parser.add_argument("--out", type=Path, default=Path("sbom"), help="folder for NAME.cdx.json (default: sbom)")


def run(args: argparse.Namespace) -> int:
    """The command. Raises UserError where an image or the engine is missing, CommandFailed when a tool fails."""
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names:
        check_image(sdk.default_image(name))
    for name in args.names:
        file = args.out / f"{name}{IMAGES[name].suffix(os.environ.get('VARIANT', 'cpu'))}.cdx.json"
        with tempfile.TemporaryDirectory(prefix=".sbom-", dir=args.out) as folder:
            _write(name, sdk.default_image(name), Path(folder).resolve()).replace(file)
        print(file, flush=True)
    return 0


def _write(name: str, image: str, work: Path) -> Path:
    """Make the list of one image in `work` and return its path."""
    root = work / "root"
    _copy_records(image, root)
    parts = []
    for environment in sorted(path.name for path in (root / "opt").iterdir()):
        parts.append(f"{environment}.cdx.json")
        _python_packages(environment, root / "opt" / environment, work)
    _tool(work, "debsbom", "generate", "-r", root, "-t", "cdx", "-o", "debian", "--cdx-schema-version", _VERSION)
    merged = ["-t", "cdx", "-o", "merged", "--distro-name", name, "--cdx-schema-version", _VERSION]
    _tool(work, "debsbom", "merge", *merged, *parts, "debian.cdx.json")
    return work / "merged.cdx.json"


def _copy_records(image: str, root: Path) -> None:
    """The image's package records below `root`, by way of a container that never starts."""
    made = subprocess.run(["docker", "create", "--network=none", image, "true"], capture_output=True, text=True)
    if made.returncode != 0:
        raise DockerError(f"`docker create {image}` failed: fix what it names; docker said: {made.stderr.strip()}")
    container = made.stdout.strip()
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                wanted = (m for m in archive if _PYTHON.fullmatch(m.name) or _DEBIAN.fullmatch(m.name))
                archive.extractall(root, wanted, filter="data")
            while export.stdout and export.stdout.read(1 << 16):  # the padding: docker must not meet a closed pipe
                pass
        if export.returncode != 0:
            raise CommandFailed(f"`docker export` of {image} ended with {export.returncode}: see what it said above")
    finally:
        subprocess.run(["docker", "rm", "--volumes", container], capture_output=True, check=True)


def _python_packages(environment: str, records: Path, work: Path) -> None:
    """ENVIRONMENT.cdx.json: cyclonedx-py asks an interpreter where its packages are, so the records get one."""
    place = work / environment
    venv.create(place, symlinks=True)
    (installed,), (ours,) = (folder.glob("lib/python3*/site-packages") for folder in (records, place))
    shutil.copytree(installed, ours, dirs_exist_ok=True)
    # debsbom merges lists that have a head alone.
    (work / f"{environment}.toml").write_text(f'[project]\nname = "opt-{environment}"\nversion = "0"\n')
    _tool(work, "cyclonedx-py", "environment", "--sv", _VERSION, "--output-reproducible", "--pyproject",
          f"{environment}.toml", "-o", f"{environment}.cdx.json", place)  # fmt: skip
    # Every list of cyclonedx-py calls its head the same, and debsbom merges no two of one name.
    listed = work / f"{environment}.cdx.json"
    listed.write_text(listed.read_text().replace('"root-component"', f'"opt-{environment}"'))


def _tool(work: Path, program: str, *arguments: str | Path) -> None:
    """One of the tools of our own environment, in the folder `work`."""
    command = [Path(sys.executable).parent / program, *arguments]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(f"{program} {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
