"""A stand-in for the `docker` program that SageMaker's SDKs call. It runs nothing and keeps the Compose file."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ALL_GPUS = {"resources": {"reservations": {"devices": [{"count": "all", "capabilities": ["gpu"]}]}}}
"""The value of `deploy` in a Compose file that gives a service all GPUs of the machine."""


def keep(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Write the program into `folder`, put it first on PATH, and return the path of the kept Compose file."""
    kept, program = folder / "compose.yaml", folder / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\ncase "$1 $2" in\n"compose version") echo "Docker Compose version v2.26.1" ;;\n'
        f'"compose -f") cp "$3" "{kept}" ;;\nesac\n'
    )
    program.chmod(0o755)
    patch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return kept


def service(kept: Path) -> dict[str, Any]:
    """Return the file's only service."""
    (only,) = yaml.safe_load(kept.read_text(encoding="utf-8"))["services"].values()
    return only
