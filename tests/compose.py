"""A program in Docker's place for SageMaker's SDKs: it runs nothing and keeps the Compose file that it is given."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

ALL_GPUS = {"resources": {"reservations": {"devices": [{"count": "all", "capabilities": ["gpu"]}]}}}
"""What Compose wants to read under `deploy` to give a service every GPU of the machine."""


def keep(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Put the program first on PATH, from `folder`; returns where it keeps the file."""
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
    """The one service of the file."""
    (found,) = yaml.safe_load(kept.read_text(encoding="utf-8"))["services"].values()
    return found
