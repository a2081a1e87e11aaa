"""The script for SDK v3 in docs/switching.md, with moto's server in place of AWS.

moto does not train and returns fixed responses. The tests check the requests that the SDK sends, which botocore
validates against its service model. tests/local_mode/test_sdk3.py tests local mode with real containers.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import boto3
import pytest

from tests.aws import ACCOUNT, REGION, Aws, Sent, operations, request
from tests.environments import REPOSITORY, use_home
from tests.pages import PLACES, on_spot, snippet

PHOTO = b"not a real photo"
PROBABILITIES = [0.25, 0.75]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def code() -> str:
    """Return the page's script with placeholders filled in."""
    return re.sub("|".join(PLACES), lambda name: PLACES[name[0]], snippet("sdk3-cloud"))


class Ran(NamedTuple):
    """The script's requests to SageMaker, and the final value of its variable `probabilities`."""

    sent: Sent
    probabilities: list[float]


@pytest.fixture(scope="module")
def ran(moto_server: Aws, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The script's results when run as a program."""
    folder, home = tmp_path_factory.mktemp("script"), tmp_path_factory.mktemp("home")
    (folder / "photo.jpg").write_bytes(PHOTO)
    (home / ".config" / "sagemaker").mkdir(parents=True)
    (home / ".config" / "sagemaker" / "config.yaml").write_text(snippet("defaults-config"), encoding="utf-8")
    last = "import json; open('probabilities.json', 'w').write(json.dumps(probabilities))"
    moto_server.reset()
    with pytest.MonkeyPatch.context() as patch:
        use_home(home, patch, "testing")
        patch.setenv("AWS_ENDPOINT_URL", moto_server.address)
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        moto_server.reply(json.dumps(PROBABILITIES))
        boto3.client("iam").create_role(RoleName=PLACES["ROLE"], AssumeRolePolicyDocument=json.dumps(TRUST))
        subprocess.run([sys.executable, "-c", f"{code()}\n{last}"], cwd=folder, timeout=240, check=True)
        return Ran(moto_server.sent(), json.loads((folder / "probabilities.json").read_text()))


def test_the_script_trains_deploys_predicts_and_deletes_in_the_cloud(ran: Ran) -> None:
    created = ["CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert operations(ran.sent) == [*created, "InvokeEndpoint", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]
    assert request(ran.sent, "InvokeEndpoint") == {"ContentType": "image/jpeg", "bytes": len(PHOTO)}
    assert ran.probabilities == PROBABILITIES


def test_sagemaker_gets_the_scripts_image_channels_and_hyperparameters(ran: Ran) -> None:
    uri = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/image-classification:dev"
    job = request(ran.sent, "CreateTrainingJob")
    assert job["AlgorithmSpecification"]["TrainingImage"] == uri
    assert job["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    assert job["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/{PLACES['ROLE']}"
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}, "the SDK's default stops the job after an hour"
    channels = job["InputDataConfig"]
    sources = {
        item["ChannelName"]: (item["DataSource"]["S3DataSource"]["S3Uri"], item["ContentType"]) for item in channels
    }
    expected = ("train", "validation", "train_lst", "validation_lst")
    assert sources == {name: (f"s3://{PLACES['BUCKET']}/{name}", "application/x-image") for name in expected}
    (hyperparameters,) = [
        node.value for node in ast.walk(ast.parse(code())) if isinstance(node, ast.keyword)
        and node.arg == "hyperparameters"
    ]  # fmt: skip
    assert job["HyperParameters"] == {name: str(value) for name, value in ast.literal_eval(hyperparameters).items()}
    created = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint")
    names = [
        value for operation in created for key, value in request(ran.sent, operation).items() if key.endswith("Name")
    ]
    assert set(names) == {job["TrainingJobName"]}, "each run needs new names"
    model = request(ran.sent, "CreateModel")["PrimaryContainer"]
    assert model["Image"] == uri
    assert model["ModelDataUrl"] == f"s3://{PLACES['BUCKET']}/output/{job['TrainingJobName']}/output/model.tar.gz"
    (variant,) = request(ran.sent, "CreateEndpointConfig")["ProductionVariants"]
    assert variant["InstanceType"] == "ml.m5.large"


SPOT = """
from sagemaker.train import ModelTrainer
image, role, hyperparameters = "image", ROLE, {"epochs": 3}
CODE
trainer.train(wait=False)
"""


def test_the_code_for_spot_instances_requests_them_and_a_checkpoint_folder(
    moto_server: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, expected = on_spot("sdk3-spot")
    (tmp_path / ".config" / "sagemaker").mkdir(parents=True)
    (tmp_path / ".config" / "sagemaker" / "config.yaml").write_text(snippet("defaults-config"), encoding="utf-8")
    moto_server.reset()
    use_home(tmp_path, monkeypatch, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server.address)
    role = f"arn:aws:iam::{ACCOUNT}:role/{PLACES['ROLE']}"
    boto3.client("iam").create_role(RoleName=PLACES["ROLE"], AssumeRolePolicyDocument=json.dumps(TRUST))
    program = SPOT.replace("CODE", code).replace("ROLE", repr(role))
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=240, check=True)
    job = request(moto_server.sent(), "CreateTrainingJob")
    assert {name: job[name] for name in expected} == expected
    folder = {"S3Uri": f"s3://{PLACES['BUCKET']}/checkpoints/pets-1", "LocalPath": "/opt/ml/checkpoints"}
    assert job["CheckpointConfig"] == folder
