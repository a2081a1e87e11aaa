"""`python3 -m local sbom NAME...`: write the software bill of materials of built images, as CycloneDX.

sbom/NAME.cdx.json lists the Python packages in /opt/serve and /opt/train (by cyclonedx-bom) and the Debian packages (by
debsbom). The tools read the package metadata, which is copied out of the image: nothing runs in the image or is added
to it.
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

# The files that the tools read: metadata of Python packages, dpkg's and apt's state, and the Debian release.
_PYTHON = re.compile(r"opt/(\w+)/lib/python3[.]\d+/site-packages/[^/]+[.]dist-info/(METADATA|RECORD|WHEEL|licenses/.+)")
_DEBIAN = re.compile(r"(var/lib/dpkg/(status|arch)|var/lib/apt/extended_states|(etc|usr/lib)/os-release)")
_VERSION = "1.6"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    options.add_names(parser, IMAGES)
    parser.add_argument("--out", type=Path, default=Path("sbom"), help="folder for NAME.cdx.json (default: sbom)")


def run(args: argparse.Namespace) -> int:
    """Write the files. Raises UserError if an image or Docker is missing, CommandFailed if a tool fails."""
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
    """Write the file of one image into the folder `work` and return its path."""
    root = work / "root"
    _copy_metadata(image, root)
    parts = []
    for environment in sorted(path.name for path in (root / "opt").iterdir()):
        parts.append(f"{environment}.cdx.json")
        _python_packages(environment, root / "opt" / environment, work)
    _tool(work, "debsbom", "generate", "-r", root, "-t", "cdx", "-o", "debian", "--cdx-schema-version", _VERSION)
    merged = ["-t", "cdx", "-o", "merged", "--distro-name", name, "--cdx-schema-version", _VERSION]
    _tool(work, "debsbom", "merge", *merged, *parts, "debian.cdx.json")
    return work / "merged.cdx.json"


def _copy_metadata(image: str, root: Path) -> None:
    """Copy the image's package metadata into `root`, from a container that is never started."""
    created = subprocess.run(["docker", "create", "--network=none", image, "true"], capture_output=True, text=True)
    if created.returncode != 0:
        raise DockerError(f"`docker create {image}` failed: {created.stderr.strip()}")
    container = created.stdout.strip()
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            with tarfile.open(fileobj=export.stdout, mode="r|") as archive:
                members = (m for m in archive if _PYTHON.fullmatch(m.name) or _DEBIAN.fullmatch(m.name))
                archive.extractall(root, members, filter="data")
            while export.stdout and export.stdout.read(1 << 16):  # read the padding, or docker fails on a closed pipe
                pass
        if export.returncode != 0:
            raise CommandFailed(
                f"`docker export` of {image} failed with exit code {export.returncode}: see its output above"
            )
    finally:
        subprocess.run(["docker", "rm", "--volumes", container], capture_output=True, check=True)


def _python_packages(environment: str, metadata: Path, work: Path) -> None:
    """Write ENVIRONMENT.cdx.json. cyclonedx-py needs an interpreter, so the metadata is copied into a new venv."""
    folder = work / environment
    venv.create(folder, symlinks=True)
    (installed,), (site_packages,) = (root.glob("lib/python3*/site-packages") for root in (metadata, folder))
    shutil.copytree(installed, site_packages, dirs_exist_ok=True)
    # debsbom merges only files with a root component, which cyclonedx-py takes from a pyproject file.
    (work / f"{environment}.toml").write_text(f'[project]\nname = "opt-{environment}"\nversion = "0"\n')
    _tool(work, "cyclonedx-py", "environment", "--sv", _VERSION, "--output-reproducible", "--pyproject",
          f"{environment}.toml", "-o", f"{environment}.cdx.json", folder)  # fmt: skip
    # cyclonedx-py gives all root components the same id, but debsbom needs different ones.
    output = work / f"{environment}.cdx.json"
    output.write_text(output.read_text().replace('"root-component"', f'"opt-{environment}"'))


def _tool(work: Path, program: str, *arguments: str | Path) -> None:
    """Run a tool of this environment in the folder `work`. Raises CommandFailed."""
    command = [Path(sys.executable).parent / program, *arguments]
    completed = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        raise CommandFailed(
            f"{program} {arguments[0]} failed with exit code {completed.returncode}: {completed.stderr.strip()}"
        )
