"""The notebooks of docs/switching.md in the cloud, with moto's server in place of AWS.

moto does not train and returns fixed responses. The tests check the requests that the SDK sends, which botocore
validates against its service model. test_pages.py runs the same code in local mode with real containers.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.aws import ACCOUNT, REGION, Aws, Sent, operations, request
from tests.pages import INSTANCES, PLACES, SWITCHING, TRAINING, on_spot, snippet
from tests.sdk2.conftest import Cells, use_home
from tests.sdk2.test_pages import CLASSIFICATION, DETECTION, SEGMENTATION

# To name a bucket, SDK v2 requests the account from STS at a fixed address. A configured name avoids that.
CONFIG = """
SchemaVersion: "1.0"
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
      Session:
        DefaultS3Bucket: output
"""
PHOTO = b"not a real photo"
REPLY = '{"prediction": [[0, 0.9, 0.1, 0.1, 0.5, 0.5]]}'  # valid for all three notebooks
NAMES = {
    "sdk2": "image-classification",
    "sdk2-detection": "object-detection",
    "sdk2-segmentation": "semantic-segmentation",
}
# The notebooks count the photos when they run, except the first, which has a fixed number.
HYPERPARAMETERS = {
    "sdk2": CLASSIFICATION,
    "sdk2-detection": {**DETECTION, "num_training_samples": 1},
    "sdk2-segmentation": {**SEGMENTATION, "num_training_samples": 1},
}
PAIRS = ("train", "train_annotation", "validation", "validation_annotation")
CHANNELS = {
    "sdk2": dict.fromkeys(("train", "validation", "train_lst", "validation_lst"), "application/x-image"),
    "sdk2-detection": dict.fromkeys(PAIRS, "image/jpeg"),
    "sdk2-segmentation": dict(zip(PAIRS, ("image/jpeg", "image/png") * 2, strict=True)),
}


def changes() -> list[tuple[str, str]]:
    """Return the replacements that the page lists for the cloud, with placeholders filled in."""
    section = SWITCHING.read_text(encoding="utf-8").partition("### From the laptop to the cloud")[2]
    rows = re.findall(r"^\| `(.+)` \| `(.+)` \|$", section.partition("\n### ")[0], re.MULTILINE)
    return [(old, re.sub("|".join(PLACES), lambda name: PLACES[name[0]], new)) for old, new in rows]


def for_the_cloud(name: str) -> str:
    """Return a notebook of the page with all changes for the cloud. Every change must apply."""
    code = snippet(name)
    for old, new in changes():
        assert old in code, f"{old} is not in the snippet {name}"
        code = code.replace(old, new)
    return code


def sent_by(name: str, folder: Path, server: Aws) -> Sent:
    """Run a notebook with one photo of each kind, and return its requests to SageMaker."""
    (folder / "channels" / "train").mkdir(parents=True)
    for photo in ("photo.jpg", "channels/train/1.jpg"):
        (folder / photo).write_bytes(PHOTO)
    with pytest.MonkeyPatch.context() as patch:
        home = folder / "home"
        (home / ".config" / "sagemaker").mkdir(parents=True)
        (home / ".config" / "sagemaker" / "config.yaml").write_text(CONFIG, encoding="utf-8")
        use_home(home, patch, "testing")
        patch.setenv("AWS_ENDPOINT_URL", server.address)
        server.reply(REPLY)
        Cells(for_the_cloud(name), SWITCHING, folder)
        return server.sent()


@pytest.fixture(scope="module")
def sent(moto_server: Aws, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sent]:
    """The requests of each notebook."""
    return {name: sent_by(name, tmp_path_factory.mktemp(name), moto_server) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_notebook_trains_deploys_predicts_and_deletes_in_the_cloud(name: str, sent: dict[str, Sent]) -> None:
    created = ["CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert operations(sent[name]) == [*created, "InvokeEndpoint", "DeleteEndpointConfig", "DeleteEndpoint"]
    assert request(sent[name], "InvokeEndpoint") == {"ContentType": "image/jpeg", "bytes": len(PHOTO)}


@pytest.mark.parametrize("name", NAMES)
def test_sagemaker_gets_the_pages_image_channels_and_hyperparameters(name: str, sent: dict[str, Sent]) -> None:
    uri = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{NAMES[name]}:dev"
    job = request(sent[name], "CreateTrainingJob")
    assert job["AlgorithmSpecification"]["TrainingImage"] == uri
    assert job["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    assert job["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/vision"
    channels = job["InputDataConfig"]
    sources = {
        channel["ChannelName"]: (channel["DataSource"]["S3DataSource"]["S3Uri"], channel["ContentType"])
        for channel in channels
    }
    assert sources == {channel: (f"s3://pets/{channel}", kind) for channel, kind in CHANNELS[name].items()}
    assert job["HyperParameters"] == {key: str(value) for key, value in HYPERPARAMETERS[name].items()}
    model = request(sent[name], "CreateModel")["PrimaryContainer"]
    assert model["Image"] == uri
    assert model["ModelDataUrl"].endswith(f"{job['TrainingJobName']}/output/model.tar.gz")
    (variant,) = request(sent[name], "CreateEndpointConfig")["ProductionVariants"]
    assert variant["InstanceType"] == "ml.m5.large"


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_changed_for_the_cloud_has_no_code_for_local_mode(name: str) -> None:
    code = for_the_cloud(name)
    assert "file://" not in code
    assert '"local"' not in code
    assert "sagemaker-vision/" not in code
    assert "role/unused" not in code


SPOT = """
import sagemaker
image, role = "image", "arn:aws:iam::123456789012:role/vision"
CODE
estimator.fit({"train": "s3://pets/train"}, wait=False)
"""


def job_of(code: str, page: Path, folder: Path, server: Aws, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a page's code in `folder` and return the training job that it requests."""
    (folder / ".config" / "sagemaker").mkdir(parents=True)
    (folder / ".config" / "sagemaker" / "config.yaml").write_text(CONFIG, encoding="utf-8")
    server.reset()
    use_home(folder, patch, "testing")
    patch.setenv("AWS_ENDPOINT_URL", server.address)
    Cells(code, page, folder)
    return request(server.sent(), "CreateTrainingJob")


def test_the_code_for_spot_instances_requests_them_and_a_checkpoint_folder(
    moto_server: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, expected = on_spot("sdk2-spot")
    job = job_of(SPOT.replace("CODE", code), TRAINING, tmp_path, moto_server, monkeypatch)
    assert {name: job[name] for name in expected} == expected
    assert job["CheckpointConfig"] == {"S3Uri": f"s3://{PLACES['BUCKET']}/checkpoints/pets-1"}


def test_the_code_for_gpu_check_runs_it_instead_of_training(
    moto_server: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.sub("|".join(PLACES), lambda name: PLACES[name[0]], snippet("sdk2-gpu-check", INSTANCES))
    job = job_of(code, INSTANCES, tmp_path, moto_server, monkeypatch)
    algorithm = job["AlgorithmSpecification"]
    assert algorithm["TrainingImage"] == f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/image-classification:dev-gpu"
    assert algorithm["ContainerEntrypoint"] == ["/opt/program/bin/gpu-check"]
    assert job["ResourceConfig"]["InstanceType"] == "ml.g5.xlarge"
