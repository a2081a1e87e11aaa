"""Serving in real containers of both images, with models that a container trained."""

import base64
import http.client
import io
import json
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from local.commands import prepare
from tests.images.conftest import CLASSIFIER, DETECTOR, SEGMENTER, Case, Channels
from tests.images.container import FOREIGN, RESTRICTED, Container
from tests.local_mode.responses import is_detections
from tests.scrapes import names, samples, value

BOTH = pytest.mark.parametrize("name", ["image-classification", "inference"])
PUBLISHED = "--publish=127.0.0.1::8080"

Image = Callable[[str], str]
Trained = Callable[[Case], Path]
Drawn = Callable[[Case], Channels]


def post(address: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        connection.request("POST", "/invocations", body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def predict(address: str, body: bytes) -> Any:
    status, content = post(address, body, {"Content-Type": "image/jpeg", "Accept": "application/json"})
    assert status == 200, content
    return json.loads(content)


def photos_of(channels: Channels, name: str = CLASSIFIER.name) -> list[bytes]:
    return [path.read_bytes() for path, _ in prepare.photos(channels[0], "validation", name)]


@pytest.fixture(scope="session")
def predictions(image: Image, trained: Trained, drawn_channels: Drawn) -> Callable[[Case], tuple[list[Any], list[Any]]]:
    """`predictions(case)` returns predictions of the training image and of `inference` for six photos.

    The containers run with a read-only root and another uid.
    """

    def serve(name: str, case: Case) -> list[Any]:
        options = ["--read-only", "--tmpfs=/tmp", f"--user={FOREIGN}", PUBLISHED]
        with Container(image(name), "serve", mounts={"/opt/ml/model:ro": trained(case)}, options=options) as container:
            address = container.wait_until_ready()
            return [predict(address, photo) for photo in photos_of(drawn_channels(case), case.name)[:6]]

    return lambda case: (serve(case.name, case), serve("inference", case))


def test_both_images_give_the_same_probabilities_with_read_only_root_and_another_uid(
    predictions: Callable[[Case], tuple[list[Any], list[Any]]],
) -> None:
    for probabilities, again in zip(*predictions(CLASSIFIER), strict=True):
        assert probabilities == pytest.approx(again, abs=1e-6)
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
        assert len(probabilities) == 6


def test_both_images_give_the_same_detections_with_read_only_root_and_another_uid(
    predictions: Callable[[Case], tuple[list[Any], list[Any]]],
) -> None:
    count = 0
    for first, second in zip(*predictions(DETECTOR), strict=True):
        rows = first["prediction"]
        assert is_detections(rows, 2)
        assert [row[0] for row in rows] == [row[0] for row in second["prediction"]]
        assert rows == [pytest.approx(row, abs=1e-5) for row in second["prediction"]]
        count += len(rows)
    assert count, "one epoch must give scores above the minimum"


def test_both_images_give_the_same_masks_with_read_only_root_and_another_uid(
    predictions: Callable[[Case], tuple[list[Any], list[Any]]], drawn_channels: Drawn
) -> None:
    photos = photos_of(drawn_channels(SEGMENTER), SEGMENTER.name)
    for photo, *replies in zip(photos, *predictions(SEGMENTER), strict=False):
        with Pillow.open(io.BytesIO(photo)) as opened:
            size = opened.size
        masks = []
        for reply in replies:
            with Pillow.open(io.BytesIO(base64.b64decode(reply["mask"]))) as mask:
                assert (mask.format, mask.mode, mask.size) == ("PNG", "P", size)
                masks.append(np.asarray(mask))
            assert [item["label"] for item in reply["classes"]] == ["pet", "background", "border"]
        assert masks[0].max() < 3
        assert np.mean(masks[0] != masks[1]) < 0.001


@BOTH
def test_the_configured_port_is_bound_without_a_network(
    image: Image, trained: Trained, drawn_channels: Drawn, name: str
) -> None:
    client = """
from urllib.request import Request, urlopen
url = "http://127.0.0.1:9191"
print(urlopen(url + "/ping").status)
with open("/photo.jpg", "rb") as photo:
    print(urlopen(Request(url + "/invocations", photo.read(), {"Content-Type": "image/jpeg"})).read().decode())
"""
    photo = prepare.photos(drawn_channels(CLASSIFIER)[0], "validation")[0][0]
    mounts = {"/opt/ml/model:ro": trained(CLASSIFIER), "/photo.jpg:ro": photo}
    port = {"SAGEMAKER_BIND_TO_PORT": "9191"}
    with Container(image(name), "serve", mounts=mounts, options=RESTRICTED, env=port) as container:
        container.wait_for("/ping returns 200", 60)
        ping, prediction = container.execute("python3", "-c", client).splitlines()
        assert "telemetry" not in container.log().lower(), container.log()
    assert ping == "200"
    assert len(json.loads(prediction)) == 6


@pytest.mark.parametrize("workers", ["1", "2"])
def test_metrics_count_requests_and_the_log_has_each_request_with_its_id(
    image: Image, trained: Trained, drawn_channels: Drawn, workers: str
) -> None:
    photo = photos_of(drawn_channels(CLASSIFIER))[0]
    env = {"SAGEMAKER_MODEL_SERVER_WORKERS": workers, "VISION_LOG_REQUESTS": "all", "VISION_LOG_FORMAT": "json"}
    # Without a writable /tmp, the files of several workers are in /dev/shm.
    options = ["--read-only", f"--user={FOREIGN}", PUBLISHED, *(["--tmpfs=/tmp"] if workers == "1" else [])]
    mounts = {"/opt/ml/model:ro": trained(CLASSIFIER)}
    with Container(image("inference"), "serve", mounts=mounts, options=options, env=env) as container:
        address = container.wait_until_ready()
        for body, number, status in ((photo, "first", 200), (b"hello", "second", 400)):
            assert post(address, body, {"X-Amzn-SageMaker-Inference-Id": number})[0] == status
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            page = response.read()
        lines = {line["id"]: line for line in map(json.loads, container.log().splitlines()) if "id" in line}
    scraped = samples(page)
    for status in ("200", "400"):
        assert value(scraped, "vision_requests_total", model="model", status=status) == 1
    assert value(scraped, "vision_stage_duration_seconds_count", model="model", stage="model") == 1
    assert value(scraped, "vision_model_memory_bytes", model="model") > 2**20
    assert {"vision_requests_in_progress", "vision_request_duration_seconds"} <= names(page)
    assert {number: (line["status"], line["bytes_in"]) for number, line in lines.items()} == {
        "first": (200, len(photo)),
        "second": (400, 5),
    }


@BOTH
def test_sigterm_lets_a_request_in_flight_finish_and_exits_with_0(
    image: Image, trained: Trained, drawn_channels: Drawn, name: str
) -> None:
    body = photos_of(drawn_channels(CLASSIFIER))[0]
    options = ["--read-only", "--tmpfs=/tmp", PUBLISHED]
    with Container(
        image(name), "serve", mounts={"/opt/ml/model:ro": trained(CLASSIFIER)}, options=options
    ) as container:
        host, port = container.wait_until_ready().split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.putrequest("POST", "/invocations")
        connection.putheader("Content-Type", "image/jpeg")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 100"), "the server did not send 100 Continue"
        connection.send(body[:100])
        stopping = subprocess.Popen(["docker", "stop", "--time=30", container.id], stdout=subprocess.DEVNULL)
        container.wait_for("Handling signal: term", 20)
        connection.send(body[100:])
        response = connection.getresponse()
        assert response.status == 200, container.log()
        assert len(json.loads(response.read())) == 6
        connection.close()
        assert stopping.wait(40) == 0
        assert container.wait(5) == 0, container.log()


def test_a_container_without_a_model_exits_and_names_the_missing_file(image: Image) -> None:
    with Container(image("inference"), options=RESTRICTED) as container:
        assert container.wait(30) == 1
        assert "/opt/ml/model/model.json is missing" in container.log()


def test_bad_bodies_are_rejected_and_the_next_photo_gets_a_prediction(
    image: Image, trained: Trained, drawn_channels: Drawn
) -> None:
    photo = photos_of(drawn_channels(CLASSIFIER))[0]
    grey = io.BytesIO()
    Pillow.open(io.BytesIO(photo)).convert("L").save(grey, "PNG")
    with Container(
        image("inference"), mounts={"/opt/ml/model:ro": trained(CLASSIFIER)}, options=[PUBLISHED]
    ) as container:
        address = container.wait_until_ready()
        for body in (b"", photo[:500], b"hello"):
            assert post(address, body, {"Content-Type": "image/jpeg"})[0] == 400
        assert post(address, b"1,2,3", {"Content-Type": "text/csv"})[0] == 415
        assert len(predict(address, grey.getvalue())) == 6
