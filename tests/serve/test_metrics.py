"""GET /metrics and the request log of a real server with one or two workers."""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest

from serve.http.worker import Worker
from tests.photos import solid
from tests.scrapes import Samples, samples, value
from tests.serve.clients import connections, read_responses
from tests.server import Server

PHOTO = solid(255, 0, 0)
STAGES = ("receive", "queue", "decode", "model", "encode")


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Server]:
    """A server that runs one prediction at a time, queues two, and logs every request as JSON."""
    places = {"VISION_CONCURRENT_PREDICTIONS": "1", "VISION_QUEUE_SIZE": "2"}
    with Server(models / "classifier", VISION_LOG_REQUESTS="all", VISION_LOG_FORMAT="json", **places) as started:
        yield started.wait_until_ready()


def scrape(server: Server) -> Samples:
    response = server.request("GET", "/metrics")
    assert (response.status, response.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return samples(response.body)


def increase(before: Samples, after: Samples, name: str, **labels: str) -> float:
    return value(after, name, **labels) - value(before, name, **labels)


def wait_until_inside(server: Server, count: int) -> None:
    """Scrape until `count` requests are in progress. The server requests their bodies shortly before it counts them."""
    end = time.monotonic() + 30
    while value(scrape(server), "vision_requests_in_progress", model="model") != count:
        assert time.monotonic() < end


def lines_of(server: Server, inference_id: str) -> list[dict[str, object]]:
    """Return the log lines about requests with this id."""
    server.wait_for(re.escape(f'"id": {json.dumps(inference_id)}'))
    lines = [json.loads(line) for line in server.log()]
    return [line for line in lines if line.get("id") == inference_id]


def predict(server: Server, body: bytes = PHOTO, inference_id: str = "") -> int:
    headers = {"X-Amzn-SageMaker-Inference-Id": inference_id} if inference_id else {}
    return server.request("POST", "/invocations", body, headers).status


def test_every_request_is_counted_before_its_response_arrives(server: Server) -> None:
    before = scrape(server)
    assert [predict(server) for _ in range(3)] == [200] * 3
    assert predict(server, b"") == 400
    assert server.request("GET", "/nowhere").status == 404
    assert server.request("GET", "/ping").status == 200
    with connections(server, 1, b"no request\r\n\r\n") as [client]:
        assert [response.status for response in read_responses(client)] == [400]
    after = scrape(server)
    counts = {("model", "200"): 3, ("model", "400"): 1, ("", "404"): 1, ("", "400"): 1, ("", "200"): 0}
    for (model, status), count in counts.items():
        assert increase(before, after, "vision_requests_total", model=model, status=status) == count
    assert increase(before, after, "vision_request_duration_seconds_count", model="model") == 3
    of_stages = {
        stage: increase(before, after, "vision_stage_duration_seconds_count", model="model", stage=stage)
        for stage in STAGES
    }
    assert of_stages == {"receive": 4, "queue": 3, "decode": 4, "model": 3, "encode": 3}
    whole = increase(before, after, "vision_request_duration_seconds_sum", model="model")
    spent = [
        increase(before, after, "vision_stage_duration_seconds_sum", model="model", stage=stage) for stage in STAGES
    ]
    assert min(spent) > 0
    assert value(after, "vision_requests_in_progress", model="model") == 0
    assert value(after, "vision_requests_waiting", model="model") == 0
    assert whole > 0
    assert value(after, "vision_model_memory_bytes", model="model") > 2**20
    assert 0 < value(after, "vision_model_load_seconds", model="model") < 60
    assert value(after, "process_resident_memory_bytes") > 2**24


def test_a_full_server_still_serves_metrics_which_give_the_reason_for_503s(server: Server) -> None:
    before = scrape(server)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(server.upload(len(PHOTO), PHOTO[:5]))
        wait_until_inside(server, 3)
        assert predict(server) == 503
        full = scrape(server)
    assert increase(before, full, "vision_requests_unavailable_total", model="model", reason="busy") == 1
    assert increase(before, full, "vision_requests_total", model="model", status="503") == 1


class Pool:
    """Records that a task was submitted."""

    def __init__(self, name: str, used: list[str]) -> None:
        self._name, self._used = name, used

    def submit(self, function: object, conn: object) -> "Future[bool]":
        self._used.append(self._name)
        return Future()


@pytest.mark.parametrize(
    ("head", "pool"),
    [
        (b"GET /ping HTTP/1.1\r\n\r\n", "/ping"),
        (b"GET /metrics HTTP/1.1\r\nAccept: */*\r\n\r\n", "/metrics"),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 10\r\n\r\n", "requests"),
        (b"GET /metricsx HTTP/1.1\r\n\r\n", "requests"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "requests"),
        (b"POST /invocations HTTP/1.1\r\nContent-Length: 10\r\n\r\n", "requests"),
    ],
)
def test_ping_and_metrics_have_their_own_threads_and_requests_with_a_body_use_the_pool(head: bytes, pool: str) -> None:
    used: list[str] = []
    worker = Worker.__new__(Worker)
    worker.tpool, worker.in_threads = Pool("requests", used), 0
    worker.separate = {path: Pool(path, used) for path in ("/ping", "/metrics")}
    unreader = SimpleNamespace(unread=lambda data: None)
    worker._hand_over(SimpleNamespace(head=bytearray(head), parser=SimpleNamespace(unreader=unreader)))
    assert used == [pool]
    assert worker.in_threads == (pool == "requests")


def test_every_log_line_is_json_and_requests_have_ids_sizes_and_times(server: Server) -> None:
    assert predict(server, inference_id="order-1") == 200
    [line] = lines_of(server, "order-1")
    assert {name: line[name] for name in ("level", "message", "model", "method", "path", "status")} == {
        "level": "INFO",
        "message": "200 POST /invocations",
        "model": "model",
        "method": "POST",
        "path": "/invocations",
        "status": 200,
    }
    assert line["bytes_in"] == len(PHOTO)
    assert int(str(line["bytes_out"])) > 10
    spent = [float(str(line[f"{stage}_ms"])) for stage in STAGES]
    assert 0 < sum(spent) < float(str(line["ms"]))
    messages = [json.loads(line)["message"] for line in server.log()]
    assert any(message.startswith("Booting worker") for message in messages), "gunicorn's lines too"


def test_a_rejected_request_is_logged_with_the_reason_and_client_data_cannot_break_the_line(server: Server) -> None:
    assert predict(server, b"SECRET", "bad\x85id") == 400
    [line] = lines_of(server, r"bad\x85id")
    assert (line["level"], line["status"], line["bytes_in"]) == ("WARNING", 400, 6)
    assert str(line["reason"]).startswith("The body is not an image: it starts with (withheld)")
    assert not [text for text in server.log() if "SECRET" in text or not text.isprintable()]


def test_a_request_without_an_id_gets_a_new_one(server: Server) -> None:
    for _ in range(2):
        assert predict(server) == 200
    ids = [json.loads(line).get("id") for line in server.log() if '"200 POST /invocations"' in line]
    ours = [id_ for id_ in ids if re.fullmatch("[0-9a-f]{32}", str(id_))]
    assert len(ours) == len(set(ours)) >= 2


def test_without_metrics_the_path_is_unknown_and_requests_are_not_logged(models: Path) -> None:
    with Server(models / "classifier", VISION_METRICS="false", VISION_LOG_REQUESTS="none") as server:
        server.wait_until_ready()
        assert predict(server) == 200
        unknown = server.request("GET", "/metrics")
        assert unknown.status == 404
        assert unknown.reason.count("/metrics") == 1, "the list of known paths must not contain it"
        server.terminate()
        assert server.wait() == 0
        assert [line for line in server.log() if "GET /metrics" in line or "POST /invocations" in line] == []


def test_two_workers_share_one_page_and_killed_workers_leave_only_their_counts(models: Path) -> None:
    with Server(models / "classifier", SAGEMAKER_MODEL_SERVER_WORKERS="2") as server:
        server.wait_for("returns 200", times=2)
        pids = [int(line.rpartition(" ")[2]) for line in server.log() if "Booting worker" in line]
        [folder] = folders(pids[0])
        assert [predict(server) for _ in range(8)] == [200] * 8
        memory = value(scrape(server), "vision_model_memory_bytes", model="model")
        with server.upload(len(PHOTO), PHOTO[:5]):
            wait_until_inside(server, 1)
            pages = [scrape(server) for _ in range(6)]  # from either worker
            assert [value(page, "vision_requests_in_progress", model="model") for page in pages] == [1] * 6
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            server.wait_for("returns 200", times=4)
        metrics = scrape(server)
        assert value(metrics, "vision_requests_in_progress", model="model") == 0
        assert value(metrics, "vision_requests_total", model="model", status="200") == 8
        assert value(metrics, "vision_stage_duration_seconds_count", model="model", stage="model") == 8
        assert value(metrics, "vision_model_memory_bytes", model="model") == pytest.approx(memory, rel=0.5)
        owners = {path.stem.rpartition("_")[2] for path in folder.iterdir()}
        assert owners == {"0", "1"}, "the new workers must not use the files of the killed ones"
        server.terminate()
        assert server.wait() == 0
        assert not folder.exists()


def test_each_of_many_models_has_its_own_series_from_loading_to_unloading(models: Path) -> None:
    with Server(models / "none", SAGEMAKER_MULTI_MODEL="true") as server:
        server.wait_until_ready()

        def load(name: str, folder: str) -> int:
            model = {"model_name": name, "url": str(models / folder / "model")}
            return server.request("POST", "/models", json.dumps(model).encode()).status

        assert server.request("GET", "/metrics").status == 200, "metrics must work without a model too"
        assert load("a", "classifier") == load("b", "detector") == 200
        for name, status in (("a", 200), ("a", 200), ("b", 200), ("c", 404)):
            assert server.request("POST", f"/models/{name}/invoke", PHOTO).status == status
        metrics = scrape(server)
        for name, count in (("a", 2), ("b", 1), ("c", 0)):
            assert value(metrics, "vision_requests_total", model=name, status="200") == count
            assert value(metrics, "vision_stage_duration_seconds_count", model=name, stage="model") == count
            assert (value(metrics, "vision_model_load_seconds", model=name) > 0) == (count > 0)
        assert value(metrics, "vision_requests_total", model="", status="200") == 2, (
            "loading a model must not count as a request"
        )
        assert value(metrics, "vision_requests_total", model="", status="404") == 1
        assert "c" not in {labels.get("model") for labels in (dict(found_labels) for _, found_labels in metrics)}
        assert server.request("DELETE", "/models/a").status == 200
        left = {dict(labels).get("model") for _, labels in scrape(server)}
        assert {"b", ""} <= left
        assert "a" not in left


def folders(pid: int) -> list[Path]:
    """Return the folders of the metrics files that a process has mapped."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return sorted({Path(path).parent for path in re.findall(r"\S+/serve-metrics-\S+\.db", maps)})
