"""All routes and statuses of the serving images, with requests like SageMaker's.

The models come from tests/products/serving.py. Their predictions can be calculated by hand.
"""

import contextlib
import http.client
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from local.images import IMAGES
from tests.images.container import FOREIGN, Container
from tests.photos import solid
from tests.scrapes import samples
from tests.server import Response, Server

Image = Callable[[str], str]

RED = solid(255, 0, 0)
JPEG = {"Content-Type": "image/jpeg"}
OPTIONS = ("--read-only", "--tmpfs=/tmp", f"--user={FOREIGN}", "--publish=127.0.0.1::8080", "--memory=1g")
COUNTED = "vision_requests_total"
ALL = pytest.mark.parametrize("name", IMAGES)


class Endpoint:
    """Sends requests to a container."""

    def __init__(self, container: Container) -> None:
        self.container = container
        self._address = container.wait_until_ready()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request on a new connection and return the response."""
        with contextlib.closing(http.client.HTTPConnection(self._address, timeout=60)) as connection:
            connection.request(method, path, body, dict(headers or {}))
            return Server.response(connection)

    def counted(self, status: str) -> dict[str, float]:
        """Return the number of requests with this status for each model, from GET /metrics."""
        page = self.request("GET", "/metrics")
        assert (page.status, page.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
        counts = [(dict(labels), value) for (name, labels), value in samples(page.body).items() if name == COUNTED]
        return {labels["model"]: value for labels, value in counts if labels["status"] == status}

    def load(self, name: str, folder: str) -> Response:
        """Load a model, as the platform does."""
        return self.request("POST", "/models", json.dumps({"model_name": name, "url": folder}).encode())

    def invoke(self, name: str, body: bytes = RED, **headers: str) -> Response:
        """Send a request to a model, as the platform does."""
        target = {"X-Amzn-SageMaker-Target-Model": f"{name}.tar.gz"}
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.request("POST", f"/models/{name}/invoke", body, JPEG | target | named)


@pytest.fixture(scope="module")
def models(product: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models, readable by any user."""
    folder = tmp_path_factory.mktemp("conformance") / "models"
    shutil.copytree(product("serving"), folder)
    folder.chmod(0o755)
    return folder


@contextlib.contextmanager
def single_model(reference: str, models: Path) -> Iterator[Endpoint]:
    mounts = {"/opt/ml/model:ro": models / "classifier" / "model"}
    with Container(reference, "serve", mounts=mounts, options=OPTIONS) as container:
        yield Endpoint(container)


@contextlib.contextmanager
def multi_model(reference: str, models: Path, **env: str) -> Iterator[Endpoint]:
    env = {"SAGEMAKER_MULTI_MODEL": "true", **env}
    with Container(reference, "serve", mounts={"/opt/ml/models:ro": models}, options=OPTIONS, env=env) as container:
        yield Endpoint(container)


@ALL
def test_a_single_model_endpoint_serves_every_route_and_status(image: Image, models: Path, name: str) -> None:
    with single_model(image(name), models) as endpoint:
        ping = endpoint.request("GET", "/ping")
        assert (ping.status, ping.body) == (200, b"")
        parameters = endpoint.request("GET", "/execution-parameters").json()
        assert parameters["BatchStrategy"] == "SINGLE_RECORD"
        assert parameters["MaxConcurrentTransforms"] * parameters["MaxPayloadInMB"] <= 100
        response = endpoint.request("POST", "/invocations", RED, JPEG)
        assert (response.status, response.json()) == (200, is_red())
        for status, body, headers in (
            (400, b"no image", JPEG),
            (406, RED, JPEG | {"Accept": "image/png"}),
            (413, b"x" * (101 * 1024 * 1024), JPEG),
            (415, b"{}", {"Content-Type": "application/json"}),
            (415, RED, JPEG | {"Content-Encoding": "gzip"}),
        ):
            refused = endpoint.request("POST", "/invocations", body, headers)
            assert (refused.status, bool(refused.reason)) == (status, True)
        assert endpoint.counted(status="200") == {"model": 1, "": 1}, "/execution-parameters must not count for a model"
        assert [endpoint.counted(status=status)["model"] for status in ("400", "406", "413", "415")] == [1, 1, 1, 2]
        there_is = "The routes are /ping (GET), /invocations (POST), /execution-parameters (GET) and /metrics (GET)."
        assert endpoint.request("GET", "/invocations").reason == f"/invocations does not accept GET. {there_is}"
        for path in ("/models", "/nowhere"):
            assert endpoint.request("GET", path).reason == f"{path!r} does not exist. {there_is}"
        assert endpoint.container.stop(30) == 0


@ALL
def test_a_multi_model_endpoint_serves_every_route_and_status(image: Image, models: Path, name: str) -> None:
    with multi_model(image(name), models) as endpoint:
        assert endpoint.request("GET", "/ping").status == 200
        assert endpoint.request("GET", "/models").json() == {"models": []}
        described = {}
        for model in ("classifier", "detector", "segmenter", "tensors"):
            folder = f"/opt/ml/models/{model}/model"
            described[model] = {"modelName": model, "modelUrl": folder}
            loaded = endpoint.load(model, folder)
            assert (loaded.status, loaded.json()) == (200, described[model])
        assert endpoint.load("detector", "/opt/ml/models/detector/model").status == 409
        for bad in ("/opt/ml/nowhere", "/opt/ml/models", "/opt/ml/models/classifier-nan/model", "/root"):
            assert endpoint.load("bad", bad).status == 400
        for body in (b"", b"[]", b"{", b'{"model_name": "x"}', b'{"model_name": 1, "url": "/x"}', b"[" * 60_000):
            assert endpoint.request("POST", "/models", body).status == 400
        assert endpoint.request("POST", "/models", b"x" * 100_000).status == 413

        assert endpoint.request("GET", "/models").json() == {"models": list(described.values())}
        page = endpoint.request("GET", "/models?limit=3").json()
        assert page["models"] == list(described.values())[:3]
        rest = endpoint.request("GET", f"/models?limit=3&next_page_token={page['nextPageToken']}").json()
        assert rest == {"models": [described["tensors"]]}
        assert endpoint.request("GET", "/models?limit=x").status == 400
        assert endpoint.request("GET", "/models/detector").json() == described["detector"]
        assert endpoint.request("GET", "/models/bad").status == 404

        assert endpoint.invoke("classifier").json() == is_red()
        assert endpoint.invoke("detector").json()["prediction"][0][:2] == [0, 1]
        assert endpoint.invoke("segmenter").headers["content-type"] == "image/png"
        assert endpoint.invoke("tensors").json() == {"predictions": [[1.0, 0.0, 0.0]]}
        assert endpoint.invoke("bad").status == 404
        assert endpoint.invoke("classifier", b"no image").status == 400
        assert endpoint.invoke("classifier", Accept="image/png").status == 406
        assert endpoint.invoke("classifier", Content_Type="application/json").status == 415

        assert endpoint.request("DELETE", "/models/detector").status == 200
        for method, path in (("DELETE", ""), ("GET", ""), ("POST", "/invoke")):
            assert endpoint.request(method, f"/models/detector{path}").status == 404
        assert endpoint.load("detector", "/opt/ml/models/detector/model").status == 200
        assert endpoint.invoke("detector").status == 200
        assert endpoint.counted(status="200")["detector"] == 1
        of_models = "/models (GET, POST), /models/{name} (GET, DELETE), /models/{name}/invoke (POST)"
        there_is = f"/ping (GET), {of_models} and /metrics (GET)"
        assert (
            endpoint.request("POST", "/invocations").reason
            == f"'/invocations' does not exist. The routes are {there_is}."
        )
        assert endpoint.request("PUT", "/models").reason == f"/models does not accept PUT. The routes are {there_is}."
        assert endpoint.container.stop(30) == 0


@ALL
def test_a_killed_worker_is_replaced_with_its_models_and_never_returns_404(
    image: Image, models: Path, name: str
) -> None:
    with multi_model(image(name), models, SAGEMAKER_MODEL_SERVER_WORKERS="4") as endpoint:
        assert "SAGEMAKER_MODEL_SERVER_WORKERS is 4: ignored with SAGEMAKER_MULTI_MODEL" in endpoint.container.log()
        for model in ("classifier", "detector"):
            assert endpoint.load(model, f"/opt/ml/models/{model}/model").status == 200
        [worker] = endpoint.container.execute("cat", "/proc/1/task/1/children").split()
        endpoint.container.execute("sh", "-c", f"kill -9 {worker}")
        statuses = []
        end = time.monotonic() + 60
        while statuses[-1:] != [200]:
            assert time.monotonic() < end, statuses
            with contextlib.suppress(OSError, http.client.HTTPException):  # the worker died during the request
                statuses.append(endpoint.invoke("detector").status)
        assert set(statuses) <= {503, 200}
        assert len(endpoint.request("GET", "/models").json()["models"]) == 2
        assert endpoint.load("classifier", "/opt/ml/models/classifier/model").status == 409
        assert endpoint.invoke("classifier").json() == is_red()


@ALL
def test_a_model_that_does_not_fit_into_memory_gets_507_and_loaded_models_still_serve(
    image: Image, models: Path, tmp_path: Path, name: str
) -> None:
    large = tmp_path / "large"
    large.mkdir(mode=0o755)
    (large / "model.json").write_bytes((models / "classifier" / "model" / "model.json").read_bytes())
    with (large / "model.onnx").open("wb") as file:
        file.truncate(10**9)  # a sparse file, because only the size matters
    mounts = {"/opt/ml/models:ro": models, "/large:ro": large}
    env = {"SAGEMAKER_MULTI_MODEL": "true"}
    with Container(image(name), "serve", mounts=mounts, options=OPTIONS, env=env) as container:
        endpoint = Endpoint(container)
        assert endpoint.load("small", "/opt/ml/models/classifier/model").status == 200
        refused = endpoint.load("large", "/large")
        assert refused.status == 507
        assert refused.reason.startswith("Loading this model may take 4020 MB, but only ")
        assert endpoint.request("GET", "/models/large").status == 404
        assert endpoint.invoke("small").json() == is_red()


def is_red() -> object:
    """Return the classifier's prediction for a red photo."""
    return pytest.approx([0.96466, 0.01767, 0.01767], abs=2e-4)
