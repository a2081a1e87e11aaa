"""The real server on a model whose answers are worked out by hand: softmax(4 x mean of each channel of the crop)."""

import concurrent.futures
import contextlib
import io
import json
import math
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from PIL import Image

from serve import __version__, artifact, machine, preprocess
from serve.refusals import SILENT_SECONDS
from tests.environments import REPOSITORY, python
from tests.framework import bodies_serving as bodies
from tests.server import Server

Run = Callable[..., Any]
Models = Callable[..., Path]

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.fixture(scope="session")
def models(in_mxnet: Run, tmp_path_factory: pytest.TempPathFactory) -> Models:
    """`models(**options of make_model)`: a folder shaped like /opt/ml with that model, made once."""
    made: dict[str, Path] = {}

    def base(**options: Any) -> Path:
        key = json.dumps(options, sort_keys=True)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("ml")
            values = {"channels": 3, "rule": "crop", "broken": ""} | options
            in_mxnet(bodies.make_model, made[key] / "model", values["channels"], values["rule"], values["broken"])
        return made[key]

    return base


@pytest.fixture(scope="module")
def server(models: Models) -> Iterator[Server]:
    """One server for all questions that leave it as it was."""
    with Server(models()) as started:
        yield started.wait_until_ready()


def encode(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def solid(*colour: int, kind: str = "PNG") -> bytes:
    return encode(Image.new("RGB", (30, 20), colour), kind)


def softmax(*means: float) -> list[float]:
    powers = [math.exp(bodies.FACTOR * mean) for mean in means]
    return [power / sum(powers) for power in powers]


def expected(data: bytes, base: Path) -> list[float]:
    """The answer by NumPy: the tensor that this environment makes of the bytes, its means, the formula."""
    tensor = preprocess.load(data, artifact.read(base / "model").input)
    return softmax(*tensor.mean(axis=(1, 2)).tolist())


def reason(answer: tuple[int, dict[str, str], bytes]) -> str:
    """The reason in an error's JSON, which carries the status too, and the reason again as TensorFlow Serving's key."""
    status, headers, body = answer
    document = json.loads(body)
    assert headers["content-type"] == "application/json"
    assert document == {"status": status, "reason": document["reason"], "error": document["reason"]}
    return document["reason"]


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("colour", [RED, GREEN, (255, 255, 255), (51, 102, 204)])
def test_probabilities_are_the_hand_worked_ones(server: Server, colour: tuple[int, ...]) -> None:
    status, headers, body = server.ask("POST", "/invocations", solid(*colour), {"Content-Type": "image/png"})
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == pytest.approx(softmax(*(value / 255 for value in colour)), abs=1e-5)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF"])
@pytest.mark.parametrize("header", [None, "image/jpeg", "application/x-image", "application/octet-stream"])
def test_bytes_decide_what_an_image_is_whatever_the_header_says(server: Server, kind: str, header: str | None) -> None:
    headers = {"Content-Type": header} if header else {}
    status, _, body = server.ask("POST", "/invocations", solid(*RED, kind=kind), headers)
    assert status == 200, body
    assert json.loads(body) == pytest.approx(softmax(1, 0, 0), abs=0.02)


def test_accept_chooses_the_form_and_the_content_type_follows(server: Server) -> None:
    probabilities = softmax(1, 0, 0)
    _, headers, body = server.ask("POST", "/invocations", solid(*RED), {"Accept": "application/jsonlines"})
    assert headers["content-type"] == "application/jsonlines"
    assert json.loads(body) == {"prediction": pytest.approx(probabilities, abs=1e-5)}
    _, headers, body = server.ask("POST", "/invocations", solid(*RED), {"Accept": "application/json;verbose"})
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "predicted_label": "red",
        "labels": ["red", "green", "blue"],
        "probabilities": pytest.approx(probabilities, abs=1e-5),
    }


@pytest.mark.parametrize(
    ("batch", "strategy"), [("true", "SINGLE_RECORD"), ("True", "SingleRecord")], ids=["cloud", "local mode"]
)
def test_batch_transform_gets_the_built_ins_form_and_the_strategy_in_its_own_spelling(
    models: Models, batch: str, strategy: str
) -> None:
    with Server(models(), SAGEMAKER_BATCH=batch) as started:
        _, _, body = started.wait_until_ready().ask("POST", "/invocations", solid(*RED))
        _, _, parameters = started.ask("GET", "/execution-parameters")
    assert json.loads(body) == {"prediction": pytest.approx(softmax(1, 0, 0), abs=1e-5)}
    assert json.loads(parameters)["BatchStrategy"] == strategy


def test_one_channel_model_takes_grey_and_colour_images(models: Models) -> None:
    with Server(models(channels=1)) as started:
        started.wait_until_ready()
        for data in (encode(Image.new("L", (20, 20), 51)), solid(*RED), encode(Image.new("I;16", (9, 9), 257))):
            status, _, body = started.ask("POST", "/invocations", data)
            assert (status, json.loads(body)) == (200, [1.0])


def test_crop_and_stretch_see_different_parts_of_a_wide_image(models: Models) -> None:
    image = Image.new("RGB", (60, 20), RED)
    image.paste(GREEN, (20, 0, 40, 20))
    data = encode(image)
    for rule, means in (("crop", (0, 1, 0)), ("stretch", (2 / 3, 1 / 3, 0))):
        with Server(models(rule=rule)) as started:
            _, _, body = started.wait_until_ready().ask("POST", "/invocations", data)
        assert json.loads(body) == pytest.approx(softmax(*means), abs=0.02), rule


def test_drawn_photos_get_the_answer_of_the_shared_preprocessing(server: Server, models: Models, drawn: Path) -> None:
    photos = sorted((drawn / "images").glob("*.jpg"))[:12]
    assert photos
    for path in photos:
        data = path.read_bytes()
        answer = json.loads(server.ask("POST", "/invocations", data)[2])
        assert answer == pytest.approx(expected(data, models()), abs=1e-5), path.name


def test_real_photos_get_the_answer_of_the_shared_preprocessing(server: Server, models: Models, pets: Path) -> None:
    for path in sorted((pets / "images").glob("*.jpg"))[::3]:
        data = path.read_bytes()
        answer = server.ask("POST", "/invocations", data, {"Content-Type": "image/jpeg"})
        assert json.loads(answer[2]) == pytest.approx(expected(data, models()), abs=1e-5), path.name
    for path in (pets / "images").glob("*.mat"):
        answer = server.ask("POST", "/invocations", path.read_bytes(), {"Content-Type": "image/jpeg"})
        assert answer[0] == 400
        assert "is not an image: it starts with 'MATLAB" in reason(answer)


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"", {}, 400, "The image is empty (0 bytes)."),
        (solid(*RED, kind="JPEG")[:-40], {"Content-Type": "image/jpeg"}, 400, "The image is truncated"),
        (b"hello, world", {"Content-Type": "image/jpeg"}, 400, "The body is not an image: it starts with 'hello, wo"),
        (encode(Image.new("1", (20000, 20000))), {}, 400, "The image has 20000 x 20000 pixels, the limit is"),
        (b"1,2,3", {"Content-Type": "text/csv"}, 415, "Content-Type text/csv is not served; send"),
        (b"{}", {"Content-Type": "application/json; charset=utf-8"}, 415, "Content-Type application/json"),
        (solid(*RED), {"Content-Type": "application/zip"}, 415, "Content-Type application/zip"),
        (solid(*RED), {"Accept": "text/html"}, 406, "Accept text/html cannot be met; ask for application/json"),
    ],
    ids=["empty", "truncated", "no-image", "bomb", "csv", "json", "zip", "accept"],
)
def test_bad_request_gets_its_status_and_a_reason_and_the_next_is_answered(
    server: Server, body: bytes, headers: dict[str, str], status: int, says: str
) -> None:
    answer = server.ask("POST", "/invocations", body, headers)
    assert answer[0] == status
    assert reason(answer).startswith(says)
    assert server.ask("POST", "/invocations", solid(*GREEN))[0] == 200


def test_unknown_path_and_method_are_refused_in_json(server: Server) -> None:
    there_is = "There is /ping (GET), /invocations (POST) and /execution-parameters (GET)."
    assert reason(server.ask("GET", "/nowhere")) == f"There is nothing at '/nowhere'. {there_is}"
    assert server.ask("POST", "/models", b"x" * 200_000)[0] == 404
    answer = server.ask("GET", "/invocations")
    assert (answer[0], set(answer[1]["allow"].split(", "))) == (405, {"OPTIONS", "POST"})
    assert reason(answer) == f"/invocations does not take GET. {there_is}"


def test_each_refused_request_is_a_line_in_the_log_without_its_body(models: Models) -> None:
    with Server(models()) as started:
        started.wait_until_ready()
        started.ask("POST", "/invocations", b"secret, not an image", {"Content-Type": "text/csv"})
        started.ask("GET", "/no%0Awhere")
        started.ask("POST", "/invocations", solid(*RED), {"Accept": "text/html"})
        started.ask("POST", "/invocations", b"")
        started.wait_for("400 POST /invocations")
        lines = [line.partition(" WARNING ")[2] for line in started.log() if " WARNING " in line]
    assert [line.partition(": ")[0] for line in lines] == [
        "415 POST /invocations",
        r"404 GET /no\nwhere",
        "406 POST /invocations",
        "400 POST /invocations",
    ]
    assert lines[3] == "400 POST /invocations: The image is empty (0 bytes)."
    assert "secret" not in "".join(lines)


def test_a_crowd_that_is_refused_is_few_lines_in_the_log(models: Models) -> None:
    with Server(models(), VISION_CONCURRENT_PREDICTIONS="1", VISION_QUEUE_SIZE="0") as started:
        started.wait_until_ready()
        with contextlib.ExitStack() as uploads:
            begun = time.monotonic()
            while True:
                # The one place that there is; an upload that has been overtaken by the question is refused itself.
                uploads.enter_context(started.upload(1000, b"x"))
                if started.ask("POST", "/invocations", solid(*RED))[0] == 503:
                    break
                assert time.monotonic() < begun + 10
            for _ in range(50):
                assert started.ask("POST", "/invocations", solid(*RED))[0] == 503
            seconds = time.monotonic() - begun
        lines = [line for line in started.log() if "503 POST /invocations: The server is busy" in line]
    assert 1 <= len(lines) <= 1 + seconds / SILENT_SECONDS


def test_every_reply_has_a_content_length_and_short_headers(server: Server) -> None:
    """Async endpoints refuse a chunked reply, and headers of more than 4096 bytes."""
    strange = {"X-Amzn-SageMaker-Custom-Attributes": "a" * 1024, "X-Unknown": "b" * 2000}
    asked = [
        ("GET", "/ping", None, 200),
        ("HEAD", "/ping", None, 200),
        ("GET", "/execution-parameters", None, 200),
        ("POST", "/invocations", solid(*RED), 200),
        ("POST", "/invocations", b"", 400),
        ("GET", "/invocations", None, 405),
        ("GET", "/nowhere", None, 404),
    ]
    for method, path, body, status in asked:
        answered, headers, content = server.ask(method, path, body, strange)
        assert answered == status
        assert "transfer-encoding" not in headers
        assert int(headers["content-length"]) == len(content)
        assert sum(len(name) + len(value) + 4 for name, value in headers.items()) < 1024


def test_execution_parameters_keep_the_product_within_100_mb(server: Server) -> None:
    document = json.loads(server.ask("GET", "/execution-parameters")[2])
    assert document["BatchStrategy"] == "SINGLE_RECORD"
    assert document["MaxConcurrentTransforms"] == machine.cpu_count()
    assert 0 < document["MaxConcurrentTransforms"] * document["MaxPayloadInMB"] <= 100


# --- bodies ---------------------------------------------------------------------------------------------------------


def test_chunked_body_without_a_length_is_answered(server: Server) -> None:
    data = solid(*RED, kind="BMP")
    pieces = [data[start : start + 100] for start in range(0, len(data), 100)]
    status, _, body = server.ask("POST", "/invocations", iter(pieces))
    assert (status, json.loads(body)) == (200, pytest.approx(softmax(1, 0, 0), abs=1e-5))


@pytest.mark.parametrize("chunked", [False, True])
def test_body_of_almost_100_mb_is_answered(server: Server, chunked: bool) -> None:
    data = encode(Image.new("RGB", (6000, 5800), GREEN), "BMP")
    assert 99 * 2**20 < len(data) < 100 * 2**20
    body = (data[start : start + 2**20] for start in range(0, len(data), 2**20)) if chunked else data
    status, _, answer = server.ask("POST", "/invocations", body)
    assert (status, json.loads(answer)) == (200, pytest.approx(softmax(0, 1, 0), abs=1e-5))


@pytest.mark.parametrize("chunked", [False, True])
def test_body_beyond_the_limit_is_refused_without_a_reset_connection(models: Models, chunked: bool) -> None:
    with Server(models(), VISION_MAX_BODY_MB="1") as started:
        started.wait_until_ready()
        for size, status in ((2**20, 400), (2**20 + 1, 413), (5 * 2**20, 413)):
            body = iter([b"x" * size]) if chunked else b"x" * size
            answer = started.ask("POST", "/invocations", body)
            assert answer[0] == status, reason(answer)


def test_body_that_stops_arriving_is_given_up_after_the_timeout(models: Models) -> None:
    with Server(models(), SAGEMAKER_MODEL_SERVER_TIMEOUT="1") as started:
        with started.wait_until_ready().upload(1000, b"x" * 10) as connection:
            begun = time.monotonic()
            response = connection.getresponse()
            assert response.status == 408
            assert json.loads(response.read())["reason"] == "The body did not arrive whole within 1 s."
            assert time.monotonic() - begun < 5
        assert started.ask("POST", "/invocations", solid(*RED))[0] == 200


def test_body_shorter_than_its_length_is_refused(server: Server) -> None:
    with server.upload(1000, b"x" * 10) as connection:
        assert connection.sock is not None
        connection.sock.shutdown(socket.SHUT_WR)
        response = connection.getresponse()
        assert response.status == 400
        assert json.loads(response.read())["reason"].startswith("The body ended after 10 bytes")


def test_malformed_chunks_are_refused(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        connection.putrequest("POST", "/invocations")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(b"5\r\nhello\r\nnonsense\r\n")
        response = connection.getresponse()
        assert response.status == 400
        assert json.loads(response.read())["reason"].startswith("The body could not be read to its end")
    assert server.ask("GET", "/ping")[0] == 200


def test_kept_alive_connection_carries_refusals_and_answers(server: Server) -> None:
    with contextlib.closing(server.connect()) as connection:
        for body, status in ((solid(*RED), 200), (b"x" * 300_000, 400), (solid(*RED), 200), (b"", 400)):
            connection.request("POST", "/invocations", body)
            response = connection.getresponse()
            response.read()
            assert response.status == status
            assert connection.sock is not None, "the server closed the connection"


# --- load -----------------------------------------------------------------------------------------------------------


def test_excess_is_answered_503_at_once_while_ping_answers_and_room_comes_back(models: Models) -> None:
    data = solid(*RED)
    with (
        Server(models(), VISION_CONCURRENT_PREDICTIONS="1", VISION_QUEUE_SIZE="2") as started,
        contextlib.ExitStack() as stack,
    ):
        started.wait_until_ready()
        uploads = [stack.enter_context(started.upload(len(data), data[:5])) for _ in range(4)]
        by_socket = {upload.sock: upload for upload in uploads}
        answered, _, _ = select.select(list(by_socket), [], [], 30)
        assert len(answered) == 1, "of four requests one is more than 1 admitted and 2 in line, and is answered first"
        refused = by_socket.pop(answered[0])
        response = refused.getresponse()
        assert (response.status, response.getheader("retry-after")) == (503, "1")
        assert json.loads(response.read())["reason"] == "The server is busy with 3 requests; try again in a second."
        begun = time.monotonic()
        assert started.ask("POST", "/invocations", b"x" * 1_000_000)[0] == 503
        assert started.ask("GET", "/ping")[0] == 200
        assert time.monotonic() - begun < 2
        for upload in by_socket.values():
            upload.send(data[5:])
            response = upload.getresponse()
            assert (response.status, len(json.loads(response.read()))) == (200, 3)
        assert started.ask("POST", "/invocations", data)[0] == 200


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_refusal_of_a_large_body_reaches_a_client_that_sends_it_all_first(server: Server, connection: str) -> None:
    for path, status in (("/nowhere", 404), ("/ping", 405)):
        for _ in range(20):
            assert server.ask("POST", path, b"x" * 2_000_000, {"Connection": connection})[0] == status


def test_64_clients_are_answered_200_or_503_and_none_is_reset(models: Models) -> None:
    photo = encode(Image.effect_noise((1500, 1000), 50).convert("RGB"), "PNG")
    rounds = 6
    with Server(models(), VISION_CONCURRENT_PREDICTIONS="1", VISION_QUEUE_SIZE="4") as started:
        started.wait_until_ready()

        def client(number: int) -> list[int]:
            return [started.ask("POST", "/invocations", photo, timeout=60)[0] for _ in range(rounds)]

        with concurrent.futures.ThreadPoolExecutor(64) as clients:
            statuses = [status for answered in clients.map(client, range(64)) for status in answered]
    assert len(statuses) == 64 * rounds
    assert set(statuses) == {200, 503}


def test_idle_connections_do_not_keep_ping_waiting(models: Models) -> None:
    with Server(models(), VISION_CONCURRENT_PREDICTIONS="1", VISION_QUEUE_SIZE="0") as started:
        started.wait_until_ready()
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(socket.create_connection(("127.0.0.1", started.port)))
            begun = time.monotonic()
            assert started.ask("GET", "/ping")[0] == 200
            assert started.ask("POST", "/invocations", solid(*RED))[0] == 200
            assert time.monotonic() - begun < 2


def test_clients_that_never_close_do_not_keep_ping_waiting(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(b"GET /ping HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        begun = time.monotonic()
        assert server.ask("GET", "/ping")[0] == 200
        assert time.monotonic() - begun < 1


# --- life -----------------------------------------------------------------------------------------------------------


def test_ping_says_503_with_a_reason_until_the_model_is_loaded(in_serve: Run, models: Models) -> None:
    before, after, failures = in_serve(bodies.answers_while_loading, models())
    why = "The model is being loaded; try again in a second."
    waiting = [503, {"status": 503, "reason": why, "error": why}, "1"]
    assert before == [waiting, waiting]
    assert after == [200, 200]
    assert failures == []


def test_error_of_ours_is_500_without_its_details_and_the_next_is_answered(in_serve: Run, models: Models) -> None:
    why = "The server failed; its log says why."
    failed = {"status": 500, "reason": why, "error": why}
    assert in_serve(bodies.answer_when_the_engine_fails, models()) == [500, failed, 200]


def test_bodies_and_answers_beyond_the_room_for_them_are_503(in_serve: Run, models: Models) -> None:
    """Room for one request with its answer; for not even the body; and for the body alone."""
    assert in_serve(bodies.answers_in_little_room, models()) == [200, 200, 503, 503]


def test_first_log_lines_say_version_cpus_memory_port_workers_and_model(server: Server, models: Models) -> None:
    first = server.log()[:3]
    assert f"serve {__version__}, {machine.cpu_count()} CPUs" in first[0]
    assert "GiB memory" in first[0]
    assert f"port {server.port}, 1 worker process, each " in first[1]
    assert f"model {models()}/model, image-classification channel means, 3 classes, input 3 x 8 x 8 (crop)" in first[2]


def test_sigterm_lets_a_request_in_flight_finish_and_ends_with_0(models: Models) -> None:
    data = solid(*RED)
    with Server(models()) as started:
        with started.wait_until_ready().upload(len(data), data[:5]) as upload:
            begun = time.monotonic()
            started.terminate()
            started.wait_for("Handling signal: term")
            upload.send(data[5:])
            response = upload.getresponse()
            assert (response.status, len(json.loads(response.read()))) == (200, 3)
        assert started.wait(30) == 0
        assert time.monotonic() - begun < 15


def test_sigterm_while_the_model_is_being_loaded_ends_with_0_and_without_an_abort(models: Models) -> None:
    with Server(models()) as started:
        started.wait_for("Booting worker")
        started.terminate()
        assert started.wait(30) == 0
        assert not [line for line in started.log() if "SIGABRT" in line or "Traceback" in line]


@pytest.mark.parametrize(
    ("broken", "code", "says"),
    [
        ("graph", 3, r"model.onnx cannot be loaded: .*Train again to write it"),
        ("classes", 3, r"model.onnx answers float32 \(1, 3\) for one image, model.json has 4 class_names"),
        ("nan", 3, "model.onnx answers with numbers that are not finite: its weights are broken. Train again."),
    ],
)
def test_broken_model_ends_the_process_with_one_clear_sentence(
    models: Models, broken: str, code: int, says: str
) -> None:
    with Server(models(broken=broken)) as started:
        assert started.wait(30) == code
        line = started.wait_for(says)
    assert line.count("The model cannot be served") == 1
    assert not [entry for entry in started.log() if "Traceback" in entry]


def test_an_answer_that_is_not_finite_is_500_with_a_sentence(models: Models) -> None:
    with Server(models(broken="overflow")) as started:
        answer = started.wait_until_ready().ask("POST", "/invocations", solid(*RED))
    assert answer[0] == 500
    assert reason(answer) == "The model answered with numbers that are not finite: its weights are broken."


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"SAGEMAKER_BASE_DIR": "/nowhere"}, "/nowhere/model/model.json is missing: the folder does not exist"),
        ({"SAGEMAKER_BIND_TO_PORT": "http"}, "SAGEMAKER_BIND_TO_PORT is 'http', it must be a whole number"),
        ({"VISION_QUEUE_SIZE": "-1"}, "VISION_QUEUE_SIZE is '-1', it must be a whole number from 0 to 1000"),
    ],
)
def test_setting_that_cannot_be_used_ends_the_process_before_it_binds(
    models: Models, variables: dict[str, str], says: str
) -> None:
    with Server(models(), **variables) as started:
        assert started.wait(30) == 1
        assert started.wait_for("serve: ").startswith(f"serve: {says}")


def test_model_folder_may_be_read_only_and_nothing_is_written_beside_it(models: Models, tmp_path: Path) -> None:
    shutil.copytree(models() / "model", tmp_path / "model")
    (tmp_path / "model").chmod(0o555)
    with Server(tmp_path, HOME="/nonexistent") as started:
        assert started.wait_until_ready().ask("POST", "/invocations", solid(*RED))[0] == 200
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["model", "model.json", "model.onnx"]


# --- house ----------------------------------------------------------------------------------------------------------


def test_serving_imports_no_framework_and_nothing_of_train_or_local(in_serve: Run) -> None:
    modules = set(in_serve(bodies.modules_of_the_server))
    assert {"serve", "flask", "onnxruntime"} <= modules
    assert not modules & {"train", "local", "mxnet", "gluoncv", "tensorflow", "onnx", "sagemaker_training"}


def test_import_serve_costs_nothing(in_serve: Run) -> None:
    assert in_serve(bodies.modules_of_import_serve) == ["serve"]


# --- serve.check, which ends a training job -------------------------------------------------------------------------


def check(base: Path, work: Path) -> subprocess.CompletedProcess[str]:
    command = [python("serve"), "-m", "serve.check", "--model-dir", base / "model", "--work", work]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)


def test_check_gives_the_outputs_for_tensors_and_for_files(in_serve: Run, models: Models, tmp_path: Path) -> None:
    photos = [solid(*RED, kind="JPEG"), solid(*GREEN)]
    for number, photo in enumerate(photos):
        (tmp_path / f"{number}.image").write_bytes(photo)
    (tmp_path / "files.json").write_text(json.dumps([str(tmp_path / f"{number}.image") for number in range(2)]))
    tensors = np.random.default_rng(0).random((35, 3, 8, 8), np.float32)
    np.save(tmp_path / "tensors.npy", tensors)
    done = check(models(), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "serve.check: 35 tensors and 2 files through channel means\n"
    written = in_serve(bodies.outputs, tmp_path)
    by_hand = [softmax(*tensor.mean(axis=(1, 2)).tolist()) for tensor in tensors]
    assert written["tensor_outputs"] == {"probabilities": ["float32", ANY]}
    assert written["file_outputs"] == {"0": ["float32", ANY], "1": ["float32", ANY]}
    np.testing.assert_allclose(written["tensor_outputs"]["probabilities"][1], by_hand, atol=1e-5)
    for number, photo in enumerate(photos):
        np.testing.assert_allclose(written["file_outputs"][str(number)][1], expected(photo, models()), atol=1e-5)


def test_check_names_the_file_that_cannot_be_read_and_writes_nothing(models: Models, tmp_path: Path) -> None:
    np.save(tmp_path / "tensors.npy", np.zeros((0, 3, 8, 8), np.float32))
    for name, content, says in (("bad.jpg", b"hello", "bad.jpg: the image is not an image"), ("gone", None, "gone")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        (tmp_path / "files.json").write_text(json.dumps([str(tmp_path / name)]))
        done = check(models(), tmp_path)
        assert done.returncode == 1
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("*outputs*"))
