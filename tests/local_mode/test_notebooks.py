"""The notebooks of examples/, executed: in local mode with real containers, and as far as the cloud against moto."""

import base64
import io
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from PIL import Image

from local import draw
from tests.environments import live_in, run_in
from tests.local_mode import bodies_cloud
from tests.local_mode.aws import Sent, request
from tests.local_mode.bodies_notebooks import execute
from tests.local_mode.test_cloud import ACCOUNT, REGION
from tests.notebooks import EXAMPLES, NAMES, code, path
from tests.pages import snippet

In = Callable[..., Any]
SMALL = {"EPOCHS": 1}
SMALLER = {
    "image-classification": {"IMAGE_SIZE": 64},
    "object-detection": {"IMAGE_SIZE": 128, "BATCH_SIZE": 4},
    "semantic-segmentation": {"IMAGE_SIZE": 64, "BATCH_SIZE": 4},
    "image-classification-tensorflow": {"IMAGE_SIZE": 96},
}
LAST_LINE = {
    "image-classification": "accuracy ",
    "object-detection": "mAP ",
    "semantic-segmentation": "mIOU ",
    "image-classification-tensorflow": "accuracy ",
}
LOGGED = {
    "image-classification": "Epoch[0] Validation-accuracy=",
    "object-detection": "epoch=0, validation mAP <score>=(",
    "semantic-segmentation": ", epoch: 0, validation mIOU: ",
    "image-classification-tensorflow": "model.onnx is what will be served",
}
TO_CLOUD = ("parameters", "setup", "look", "channels", "train", "deploy", "clean-up")


def folder_of(parent: Path) -> Path:
    """A copy of examples/ to run in, so that the repository keeps no channels."""
    return Path(shutil.copytree(EXAMPLES, parent / "examples"))


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_top_to_bottom_in_local_mode_and_draws_what_it_tells(
    laptop: Path, image: Callable[[str], str], drawn_pets: Path, tmp_path: Path, in_sdk2: In, name: str
) -> None:
    parameters = {**SMALL, **SMALLER[name], "DATA": str(drawn_pets), "IMAGE": image(name)}
    said = in_sdk2(execute, path(name), folder_of(tmp_path), parameters, timeout=900)
    assert LOGGED[name] in said["train"]["text"]
    assert said["judge"]["text"].splitlines()[-1].startswith(LAST_LINE[name])
    for cell in ("look", "draw"):
        (picture,) = said[cell]["pictures"]
        with Image.open(io.BytesIO(base64.b64decode(picture))) as drawn:
            colours = drawn.convert("RGB").getcolors(maxcolors=drawn.width * drawn.height)
            assert drawn.width > 800, "a figure of full width"
            assert len(colours) > 1000, "photos are in it, not empty axes"


def run(name: str, folder: Path, data: Path, bucket: str) -> Sent:
    """Run a notebook's cells up to its endpoint, and the deletion, with its parameters set for the cloud."""
    parameters = {
        "DATA": str(data),
        "IMAGE": uri(name),
        "ROLE": f"arn:aws:iam::{ACCOUNT}:role/vision",
        "TRAIN_ON": "ml.m5.xlarge",
        "SERVE_ON": "ml.m5.large",
        "BUCKET": bucket,
    }
    given = [f"{key} = {value!r}" for key, value in parameters.items()]
    first, rest = code(name, TO_CLOUD[:1]), code(name, TO_CLOUD[1:])
    whole = "\n".join(["import matplotlib", "matplotlib.use('Agg')", first, *given, rest])
    return run_in("sdk2", bodies_cloud.calls, whole, path(name), folder_of(folder), timeout=240)


def uri(name: str) -> str:
    """The image's URI by digest, as `make push` prints it."""
    return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}@sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def few_pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set with fewer photos than the batches of some notebooks."""
    root = tmp_path_factory.mktemp("few") / "pets"
    draw.data_set(root, trainval=4, test=2, breeds=draw.BREEDS[:3])
    return root


@pytest.fixture(scope="module")
def sent(moto: str, few_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Sent, set[str]]]:
    """What each notebook sent to SageMaker, and the keys in its bucket. At a time: each waits for its endpoint."""
    home = tmp_path_factory.mktemp("home")
    (home / ".config" / "sagemaker").mkdir(parents=True)
    (home / ".config" / "sagemaker" / "config.yaml").write_text(snippet("defaults-config"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        live_in(home, patch, "testing")
        patch.setenv("AWS_ENDPOINT_URL", moto)
        s3 = boto3.client("s3", region_name=REGION)
        for bucket in NAMES:
            s3.create_bucket(Bucket=bucket)
        with ThreadPoolExecutor() as pool:
            folders = {name: tmp_path_factory.mktemp(name) for name in NAMES}
            started = {name: pool.submit(run, name, folders[name], few_pets, name) for name in NAMES}
            calls = {name: one.result() for name, one in started.items()}
        pages = {name: s3.get_paginator("list_objects_v2").paginate(Bucket=name) for name in NAMES}
        keys = {name: {one["Key"] for page in pages[name] for one in page["Contents"]} for name in NAMES}
    return {name: (calls[name], keys[name]) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_with_its_parameters_set_for_the_cloud_it_uploads_trains_deploys_and_deletes(
    name: str, sent: dict[str, tuple[Sent, set[str]]]
) -> None:
    calls, keys = sent[name]
    done = [operation for operation, _ in calls if not operation.startswith("Describe")]
    created = ["CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert done == [*created, "DeleteEndpointConfig", "DeleteEndpoint"]
    job = request(calls, "CreateTrainingJob")
    assert job["AlgorithmSpecification"]["TrainingImage"] == uri(name)
    assert job["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    sources = [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in job["InputDataConfig"]]
    assert sources
    for source in sources:
        prefix = source.removeprefix(f"s3://{name}/")
        assert re.match(rf"{name}-\d{{4}}-", prefix), "a prefix of its own, beside what was uploaded before"
        assert any(key.startswith(f"{prefix}/") for key in keys), f"{source} is empty; there is {sorted(keys)[:5]}"
    assert job["OutputDataConfig"]["S3OutputPath"].startswith(f"s3://{name}/"), "the bucket that was named, no other"
    if name != "image-classification-tensorflow":  # its hyperparameters are the script's
        batch, photos = (int(job["HyperParameters"][key]) for key in ("mini_batch_size", "num_training_samples"))
        assert batch <= photos, "a batch is refused where there are fewer photos"
    assert request(calls, "CreateModel")["PrimaryContainer"]["Image"] == uri(name)
    (variant,) = request(calls, "CreateEndpointConfig")["ProductionVariants"]
    assert variant["InstanceType"] == "ml.m5.large"
