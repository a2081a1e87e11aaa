"""Fixtures for SageMaker's SDK v2. They restore the SDK's process-wide state after each test."""

import contextlib
import io
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import sagemaker.config.config
import sagemaker.local.entities
import sagemaker.session

from tests import environments
from tests.local_mode.conftest import boxed_channels as boxed_channels
from tests.local_mode.conftest import channels as channels
from tests.local_mode.conftest import configure
from tests.local_mode.conftest import detection_folder as detection_folder
from tests.local_mode.conftest import drawn_pets as drawn_pets
from tests.local_mode.conftest import laptop as laptop
from tests.local_mode.conftest import masked_channels as masked_channels
from tests.local_mode.conftest import notebook_folder as notebook_folder
from tests.local_mode.conftest import odd_channels as odd_channels
from tests.local_mode.conftest import odd_folder as odd_folder
from tests.local_mode.conftest import script_folder as script_folder
from tests.local_mode.conftest import script_uri as script_uri
from tests.local_mode.conftest import segmentation_folder as segmentation_folder
from tests.local_mode.conftest import small_channels as small_channels
from tests.local_mode.conftest import uri as uri

# The SDK polls a container every 5 s and an endpoint every 30 s. The tests shorten these waits.
IMPATIENT = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: time.sleep(min(seconds, 0.2))})


@pytest.fixture(scope="session", autouse=True)
def impatient() -> Iterator[None]:
    """Make the SDK poll more often, but not for a shorter time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (sagemaker.session, sagemaker.local.entities):
            patch.setattr(module, "time", IMPATIENT)
        limit = sagemaker.local.entities.HEALTH_CHECK_TIMEOUT_LIMIT
        patch.setattr(sagemaker.local.entities, "HEALTH_CHECK_TIMEOUT_LIMIT", limit * 25)
        yield


def use_home(home: Path, patch: pytest.MonkeyPatch, access_key: str) -> None:
    """Call tests.environments.use_home, and make the SDK read its configuration files from `home`."""
    environments.use_home(home, patch, access_key)
    patch.setattr(boto3, "DEFAULT_SESSION", None)
    for name, path in (("USER", ".config/sagemaker/config.yaml"), ("LOCAL_MODE", ".sagemaker/config.yaml")):
        patch.setattr(sagemaker.config.config, f"_DEFAULT_{name}_CONFIG_FILE_PATH", str(home / path))


@pytest.fixture
def machine(laptop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine set up as in docs/switching.md, without AWS. Returns the folder of the SDK's temporary files."""
    configure(Path.home())
    use_home(Path.home(), monkeypatch, "none")
    return laptop


class Cells:
    """Executed notebook code: its variables and its output."""

    def __init__(self, code: str, source: Path, folder: Path) -> None:
        """Run `code`, from the page or notebook `source`, in `folder`."""
        self.variables: dict[str, Any] = {}
        written = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            try:
                with contextlib.redirect_stdout(written):
                    exec(compile(code, source, "exec"), self.variables)
            finally:
                self.log = written.getvalue()
                print(self.log)

    def __getitem__(self, name: str) -> Any:
        return self.variables[name]
