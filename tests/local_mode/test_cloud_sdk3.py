"""docs/switching.md's script for SDK v3 as the cloud runs it: moto's server on loopback stands where AWS would.

moto trains nothing and answers what it was told to. What is tested is what the SDK sends, after botocore has held it
against its service model. Its form for local mode, with real containers: test_sdk3.py.
"""

import ast
import json
import re
from collections.abc import Iterator

import boto3
import pytest
import requests

from tests.environments import live_in, run_in
from tests.local_mode.aws import Sent, aws, request
from tests.local_mode.bodies import script
from tests.local_mode.test_cloud import ACCOUNT, PLACES, REGION
from tests.pages import snippet

PHOTO = b"a photo that nobody looks at"
PROBABILITIES = [0.25, 0.75]
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def code() -> str:
    """The page's script, its names filled in."""
    return re.sub("|".join(PLACES), lambda name: PLACES[name[0]], snippet("sdk3-cloud"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sent, list[float]]]:
    """What SageMaker was sent by the script, and the script's probabilities."""
    folder, home = tmp_path_factory.mktemp("script"), tmp_path_factory.mktemp("home")
    (folder / "photo.jpg").write_bytes(PHOTO)
    (home / ".config" / "sagemaker").mkdir(parents=True)
    (home / ".config" / "sagemaker" / "config.yaml").write_text(snippet("defaults-config"), encoding="utf-8")
    with aws() as (address, sent), pytest.MonkeyPatch.context() as patch:
        live_in(home, patch, "testing")
        patch.setenv("AWS_ENDPOINT_URL", address)
        reply = {"account_id": ACCOUNT, "region": REGION, "results": [{"Body": json.dumps(PROBABILITIES)}]}
        requests.post(
            f"{address}/moto-api/static/sagemaker/endpoint-results", json=reply, timeout=10
        ).raise_for_status()
        boto3.client("iam").create_role(RoleName=PLACES["ROLE"], AssumeRolePolicyDocument=json.dumps(TRUST))
        yield sent, run_in("dev", script, code(), folder, timeout=240)


def test_in_the_cloud_the_script_trains_deploys_asks_and_deletes(ran: tuple[Sent, list[float]]) -> None:
    sent, probabilities = ran
    done = [operation for operation, _ in sent if not operation.startswith("Describe")]
    created = ["CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert done == [*created, "InvokeEndpoint", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]
    assert request(sent, "InvokeEndpoint") == {"ContentType": "image/jpeg", "bytes": len(PHOTO)}
    assert probabilities == PROBABILITIES


def test_sagemaker_gets_our_image_the_channels_and_the_hyperparameters_of_the_script(
    ran: tuple[Sent, list[float]],
) -> None:
    sent, _ = ran
    uri = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/image-classification:dev"
    job = request(sent, "CreateTrainingJob")
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
    names = [value for one in created for key, value in request(sent, one).items() if key.endswith("Name")]
    assert set(names) == {job["TrainingJobName"]}, "a name of its own, so that the script runs twice"
    model = request(sent, "CreateModel")["PrimaryContainer"]
    assert model["Image"] == uri
    assert model["ModelDataUrl"] == f"s3://{PLACES['BUCKET']}/output/{job['TrainingJobName']}/output/model.tar.gz"
    (variant,) = request(sent, "CreateEndpointConfig")["ProductionVariants"]
    assert variant["InstanceType"] == "ml.m5.large"
