"""Paths of the repository's environments, and a home folder that hides this machine's AWS settings."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def python(environment: str) -> Path:
    """Return the interpreter of .venvs/`environment`. Raise FileNotFoundError if it does not exist."""
    path = REPOSITORY / ".venvs" / environment / "bin" / "python"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: run `make envs`")
    return path


def use_home(home: Path, patch: "pytest.MonkeyPatch", access_key: str | None) -> None:
    """Make `home` the home folder and hide this machine's AWS settings.

    If `access_key` is given, set a region and made-up credentials.
    """
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_", "XDG_"))]:
        patch.delenv(name)
    patch.setenv("HOME", str(home))
    if access_key is not None:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", access_key)
