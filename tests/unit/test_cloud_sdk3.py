"""docs/switching.md's script for SDK v3 as the cloud runs it: moto's server on loopback stands where AWS would.

moto trains nothing and answers what it was told to. What is tested is what the SDK sends, after botocore has held it
against its service model. Its form for local mode, with real containers: tests/local_mode/test_sdk3.py.
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
from tests.environments import REPOSITORY, live_in
from tests.pages import PLACES, on_spot, snippet

PHOTO = b"a photo that nobody looks at"
PROBABILITIES = [0.25, 0.75]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def code() -> str:
    """The page's script, its names filled in."""
    return re.sub("|".join(PLACES), lambda name: PLACES[name[0]], snippet("sdk3-cloud"))


class Ran(NamedTuple):
    """What SageMaker was sent by the script, and what the script's variable `probabilities` held in the end."""

    sent: Sent
    probabilities: list[float]


@pytest.fixture(scope="module")
def ran(moto_server: Aws, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The script, run as a program."""
    folder, home = tmp_path_factory.mktemp("script"), tmp_path_factory.mktemp("home")
    (folder / "photo.jpg").write_bytes(PHOTO)
    (home / ".config" / "sagemaker").mkdir(parents=True)
    (home / ".config" / "sagemaker" / "config.yaml").write_text(snippet("defaults-config"), encoding="utf-8")
    last = "import json; open('answer.json', 'w').write(json.dumps(probabilities))"
    moto_server.reset()
    with pytest.MonkeyPatch.context() as patch:
        live_in(home, patch, "testing")
        patch.setenv("AWS_ENDPOINT_URL", moto_server.address)
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        moto_server.reply(json.dumps(PROBABILITIES))
        boto3.client("iam").create_role(RoleName=PLACES["ROLE"], AssumeRolePolicyDocument=json.dumps(TRUST))
        subprocess.run([sys.executable, "-c", f"{code()}\n{last}"], cwd=folder, timeout=240, check=True)
        return Ran(moto_server.sent(), json.loads((folder / "answer.json").read_text()))


def test_in_the_cloud_the_script_trains_deploys_asks_and_deletes(ran: Ran) -> None:
    created = ["CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert operations(ran.sent) == [*created, "InvokeEndpoint", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]
    assert request(ran.sent, "InvokeEndpoint") == {"ContentType": "image/jpeg", "bytes": len(PHOTO)}
    assert ran.probabilities == PROBABILITIES


def test_sagemaker_gets_our_image_the_channels_and_the_hyperparameters_of_the_script(ran: Ran) -> None:
    uri = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/image-classification:dev"
    job = request(ran.sent, "CreateTrainingJob")
    assert job["AlgorithmSpecification"]["TrainingImage"] == uri
    assert job["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    assert job["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/{PLACES['ROLE']}"
    assert job["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}, "the SDK would stop it after an hour"
    channels = job["InputDataConfig"]
    found = {one["ChannelName"]: (one["DataSource"]["S3DataSource"]["S3Uri"], one["ContentType"]) for one in channels}
    expected = ("train", "validation", "train_lst", "validation_lst")
    assert found == {name: (f"s3://{PLACES['BUCKET']}/{name}", "application/x-image") for name in expected}
    (given,) = [
        node.value for node in ast.walk(ast.parse(code())) if isinstance(node, ast.keyword)
        and node.arg == "hyperparameters"
    ]  # fmt: skip
    assert job["HyperParameters"] == {name: str(value) for name, value in ast.literal_eval(given).items()}
    created = ("CreateModel", "CreateEndpointConfig", "CreateEndpoint")
    names = [value for one in created for key, value in request(ran.sent, one).items() if key.endswith("Name")]
    assert set(names) == {job["TrainingJobName"]}, "a name of its own, so that the script runs twice"
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


def test_the_page_on_spot_instances_asks_for_them_and_for_a_folder_of_checkpoints(
    moto_server: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, wanted = on_spot("sdk3-spot")
    (tmp_path / ".config" / "sagemaker").mkdir(parents=True)
    (tmp_path / ".config" / "sagemaker" / "config.yaml").write_text(snippet("defaults-config"), encoding="utf-8")
    moto_server.reset()
    live_in(tmp_path, monkeypatch, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server.address)
    role = f"arn:aws:iam::{ACCOUNT}:role/{PLACES['ROLE']}"
    boto3.client("iam").create_role(RoleName=PLACES["ROLE"], AssumeRolePolicyDocument=json.dumps(TRUST))
    program = SPOT.replace("CODE", code).replace("ROLE", repr(role))
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=240, check=True)
    job = request(moto_server.sent(), "CreateTrainingJob")
    assert {name: job[name] for name in wanted} == wanted
    folder = {"S3Uri": f"s3://{PLACES['BUCKET']}/checkpoints/pets-1", "LocalPath": "/opt/ml/checkpoints"}
    assert job["CheckpointConfig"] == folder
