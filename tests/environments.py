"""Where the environments of this repository are, and a home folder that tells nothing of this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


def python(environment: str) -> Path:
    """The interpreter of .venvs/`environment`. FileNotFoundError when it is not made."""
    path = REPOSITORY / ".venvs" / environment / "bin" / "python"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: run `make envs`")
    return path


def live_in(home: Path, patch: "pytest.MonkeyPatch", access_key: str | None) -> None:
    """Make `home` the home folder and hide what this machine says of AWS.

    With an `access_key` there are a region and made-up credentials, with None there is neither.
    """
    for name in [name for name in os.environ if name.startswith(("AWS_", "SAGEMAKER_", "XDG_"))]:
        patch.delenv(name)
    patch.setenv("HOME", str(home))
    if access_key is not None:
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", access_key)
