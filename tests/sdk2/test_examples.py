"""Runs the notebooks of examples/ in local mode with real containers, and with moto in place of the cloud."""

import base64
import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from local.datasets.drawn import draw
from tests.aws import ACCOUNT, REGION, Aws, Sent, operations, request
from tests.notebooks import EXAMPLES, NAMES, code, path
from tests.pages import snippet
from tests.sdk2.conftest import Cells, use_home

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
    "image-classification-tensorflow": "model.onnx will be served",
}
TO_CLOUD = ("parameters", "setup", "look", "channels", "train", "deploy", "clean-up")


def folder_of(parent: Path) -> Path:
    """Copy examples/ to a folder, so that the notebooks write no channels into the repository."""
    return Path(shutil.copytree(EXAMPLES, parent / "examples"))


def execute(notebook: Path, folder: Path, parameters: dict[str, Any]) -> dict[str, list[Any]]:
    """Execute the notebook in `folder` with these `parameters`. Return each code cell's outputs by the cell's id."""
    book = nbformat.read(notebook, as_version=4)
    (place,) = [i for i, cell in enumerate(book.cells) if "parameters" in cell.metadata.get("tags", ())]
    assignments = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    book.cells.insert(place + 1, nbformat.v4.new_code_cell(assignments))
    client = NotebookClient(book, timeout=None, kernel_name="python3", resources={"metadata": {"path": folder}})
    try:
        client.execute()
    finally:
        outputs = {cell.id: cell.outputs for cell in book.cells if cell.cell_type == "code"}
        print("\n".join(f"{name}:\n{text(cell)}" for name, cell in outputs.items()))
    return outputs


def text(outputs: list[Any]) -> str:
    """Return a cell's text output."""
    return "".join(output.text for output in outputs if output.output_type == "stream")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_local_mode_and_draws_its_results(
    laptop: Path, image: Callable[[str], str], drawn_pets: Path, tmp_path: Path, name: str
) -> None:
    parameters = {**SMALL, **SMALLER[name], "DATA": str(drawn_pets), "IMAGE": image(name)}
    outputs = execute(path(name), folder_of(tmp_path), parameters)
    assert LOGGED[name] in text(outputs["train"])
    assert text(outputs["judge"]).splitlines()[-1].startswith(LAST_LINE[name])
    for cell in ("look", "draw"):
        (picture,) = [output.data["image/png"] for output in outputs[cell] if "image/png" in output.get("data", ())]
        with Image.open(io.BytesIO(base64.b64decode(picture))) as drawn:
            colours = drawn.convert("RGB").getcolors(maxcolors=drawn.width * drawn.height)
            assert drawn.width > 800, "the figure must have the full width"
            assert len(colours) > 1000, "the figure must show photos"


def for_the_cloud(name: str, data: Path) -> str:
    """Return a notebook's code up to its endpoint and the deletion, with parameters for the cloud."""
    parameters = {
        "DATA": str(data),
        "IMAGE": uri(name),
        "ROLE": f"arn:aws:iam::{ACCOUNT}:role/vision",
        "TRAIN_ON": "ml.m5.xlarge",
        "SERVE_ON": "ml.m5.large",
        "BUCKET": name,
    }
    assignments = [f"{key} = {value!r}" for key, value in parameters.items()]
    first, rest = code(name, TO_CLOUD[:1]), code(name, TO_CLOUD[1:])
    return "\n".join(["import matplotlib", "matplotlib.use('Agg')", first, *assignments, rest])


def uri(name: str) -> str:
    """Return the image's URI by digest, as `make push` prints it."""
    return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}@sha256:{'0' * 64}"


@pytest.fixture(scope="module")
def few_pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set with fewer photos than the batch size of some notebooks."""
    root = tmp_path_factory.mktemp("few") / "pets"
    draw.data_set(root, trainval=4, test=2, breeds=draw.BREEDS[:3])
    return root


class Uploaded(NamedTuple):
    """A notebook's requests to SageMaker, and the keys in its bucket afterwards."""

    sent: Sent
    keys: set[str]


@pytest.fixture(scope="module", params=NAMES)
def uploaded(
    request: pytest.FixtureRequest, moto_server: Aws, few_pets: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Uploaded]:
    """A notebook's name, requests and uploaded keys."""
    name, home = request.param, tmp_path_factory.mktemp("home")
    (home / ".config" / "sagemaker").mkdir(parents=True)
    (home / ".config" / "sagemaker" / "config.yaml").write_text(snippet("defaults-config"), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        use_home(home, patch, "testing")
        patch.setenv("AWS_ENDPOINT_URL", moto_server.address)
        s3 = boto3.client("s3", region_name=REGION)
        s3.create_bucket(Bucket=name)
        Cells(for_the_cloud(name, few_pets), path(name), folder_of(tmp_path_factory.mktemp(name)))
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name)
        return name, Uploaded(moto_server.sent(), {item["Key"] for page in pages for item in page["Contents"]})


def test_a_notebook_with_cloud_parameters_uploads_trains_deploys_and_deletes(uploaded: tuple[str, Uploaded]) -> None:
    name, (calls, keys) = uploaded
    created = ["CreateTrainingJob", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    assert operations(calls) == [*created, "DeleteEndpointConfig", "DeleteEndpoint"]
    job = request(calls, "CreateTrainingJob")
    assert job["AlgorithmSpecification"]["TrainingImage"] == uri(name)
    assert job["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    sources = [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in job["InputDataConfig"]]
    assert sources
    for source in sources:
        prefix = source.removeprefix(f"s3://{name}/")
        assert re.match(rf"{name}-\d{{4}}-", prefix), "each upload must have a new prefix"
        assert any(key.startswith(f"{prefix}/") for key in keys), (
            f"{source} is empty. The bucket has {sorted(keys)[:5]}"
        )
    assert job["OutputDataConfig"]["S3OutputPath"].startswith(f"s3://{name}/"), "only the given bucket may be used"
    if name != "image-classification-tensorflow":  # its hyperparameters belong to the script
        batch, photos = (int(job["HyperParameters"][key]) for key in ("mini_batch_size", "num_training_samples"))
        assert batch <= photos, "a batch size above the number of photos is rejected"
    assert request(calls, "CreateModel")["PrimaryContainer"]["Image"] == uri(name)
    (variant,) = request(calls, "CreateEndpointConfig")["ProductionVariants"]
    assert variant["InstanceType"] == "ml.m5.large"
