"""SDK v3's local mode with `local_gpu`. Only the Compose file is checked, because there is no GPU."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import compose
from tests.environments import REPOSITORY

IMAGE = "sagemaker-vision/image-classification:dev-gpu"
# Runs in a new process, because importing the SDK raises warnings.
JOB = """
import sys
from pathlib import Path
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode
from local.sagemaker import sdk

image, folder = sys.argv[1:]
trainer = ModelTrainer(
    training_mode=Mode.LOCAL_CONTAINER,
    training_image=image,
    compute=Compute(instance_type="local_gpu", instance_count=1),
    local_container_root=f"{folder}/root",
    sagemaker_session=sdk._session(Path(folder, "root")),
)
trainer.train([InputData(channel_name="train", data_source=f"{folder}/train")])
"""


def test_a_job_on_local_gpu_requests_all_gpus_from_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = compose.keep(tmp_path, monkeypatch)
    for name in ("train", "root"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    command = [sys.executable, "-c", JOB, IMAGE, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    service = compose.service(kept)
    assert (service["image"], service.get("command")) == (IMAGE, None)
    assert service["deploy"] == compose.ALL_GPUS
