"""SDK v2's local mode with `local_gpu`. Only the Compose file is checked, because there is no GPU."""

from pathlib import Path

import pytest
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession

from tests import compose

IMAGE = "sagemaker-vision/image-classification:dev-gpu"


def test_a_job_on_local_gpu_requests_all_gpus_from_compose(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = compose.keep(tmp_path, monkeypatch)
    (tmp_path / "train").mkdir()
    role = "arn:aws:iam::111122223333:role/unused"
    Estimator(IMAGE, role, 1, "local_gpu", sagemaker_session=LocalSession()).fit({"train": f"file://{tmp_path}/train"})
    service = compose.service(kept)
    assert (service["image"], service["command"]) == (IMAGE, "train")
    assert service["deploy"] == compose.ALL_GPUS
