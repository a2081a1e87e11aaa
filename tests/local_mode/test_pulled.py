"""From `make push` to a job: a registry on loopback, the URI by digest that `push` printed, SDK v2 in local mode."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.images.container import inspect
from tests.images.loopback import push, registry, tagged
from tests.local_mode.bodies import fit

In = Callable[..., Any]
NAME = "image-classification"
TAG = f"pulled-{os.getpid()}"


def test_a_job_runs_from_the_image_that_was_pulled_by_the_digest_that_push_printed(
    machine: Path, uri: str, small_channels: Path, in_sdk2: In, tmp_path: Path
) -> None:
    folder = tmp_path / "registry"
    folder.mkdir()
    with registry(folder) as host:
        reference = f"{host}/sagemaker-vision/{NAME}:{TAG}"
        with tagged(uri, reference):
            done = push(f"{host}/sagemaker-vision", TAG, NAME)
            assert done.returncode == 0, done.stderr
            by_digest = done.stdout.splitlines()[1]
            subprocess.run(["docker", "pull", "--quiet", by_digest], capture_output=True, check=True, timeout=300)
            assert inspect(by_digest)["Id"] == inspect(uri)["Id"]
            result = in_sdk2(fit, by_digest, small_channels, "File", {})
    assert "@sha256:" in by_digest
    assert result["error"] == ""
    assert "Epoch[0] Validation-accuracy=" in result["log"]
