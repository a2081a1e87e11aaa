"""SDK v2's local mode on `local_gpu`: the Compose file alone, as there is no GPU to run it on."""

from pathlib import Path

import pytest
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession

from tests import compose

IMAGE = "sagemaker-vision/image-classification:dev-gpu"


def test_a_job_on_local_gpu_asks_compose_for_every_gpu(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = compose.keep(tmp_path, monkeypatch)
    (tmp_path / "train").mkdir()
    role = "arn:aws:iam::111122223333:role/unused"
    Estimator(IMAGE, role, 1, "local_gpu", sagemaker_session=LocalSession()).fit({"train": f"file://{tmp_path}/train"})
    service = compose.service(kept)
    assert (service["image"], service["command"]) == (IMAGE, "train")
    assert service["deploy"] == compose.ALL_GPUS
