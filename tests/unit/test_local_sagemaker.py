"""What `train`, `deploy` and `predict` do before and after they call the SDK. tests/local_mode uses the SDK."""

import argparse
import base64
import http.server
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local import __main__ as program
from local.commands import deploy, local_mode, predict, train
from local.errors import UserError
from local.sagemaker import invocations, programs, sdk
from tests.environments import REPOSITORY
from tests.unit.loopback import serving

DOCS = REPOSITORY / "docs"


def test_channels_are_the_folders_by_name(tmp_path: Path) -> None:
    for name in ("train", "validation", "train_lst"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes.txt").write_text("no channel")
    assert sdk.channels(tmp_path) == {name: tmp_path / name for name in ("train", "train_lst", "validation")}


@pytest.mark.parametrize(("folders", "message"), [([], "train and no folder validation"), (["train"], "validation")])
def test_missing_channels_are_reported_with_the_command_that_writes_them(
    tmp_path: Path, folders: list[str], message: str
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=f"has no folder {message}: .*python3 -m local prepare"):
        sdk.channels(tmp_path)


def test_a_missing_folder_of_channels_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent has no folder train"):
        sdk.channels(tmp_path / "absent")


def test_the_default_image_follows_the_makefile_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGISTRY", raising=False)
    monkeypatch.delenv("TAG", raising=False)
    monkeypatch.delenv("VARIANT", raising=False)
    assert sdk.default_image("inference") == "sagemaker-vision/inference:dev"
    monkeypatch.setenv("REGISTRY", "registry.example/vision")
    monkeypatch.setenv("TAG", "1.2")
    assert sdk.default_image("inference") == "registry.example/vision/inference:1.2"
    monkeypatch.setenv("VARIANT", "gpu")
    assert sdk.default_image("inference") == "registry.example/vision/inference:1.2"
    assert sdk.default_image("object-detection") == "registry.example/vision/object-detection:1.2-gpu"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist"), (b"", "cannot be unpacked"), (b"PK\3\4 a zip", "cannot be unpacked")],
)
def test_a_model_that_is_not_an_archive_is_rejected_by_name_before_anything_starts(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    model = tmp_path / "model.tar.gz"
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(UserError, match=f"{re.escape(str(model))} {message}"):
        sdk._unpack(model, tmp_path)


def test_a_model_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../escaped")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    (tmp_path / "root").mkdir()
    with pytest.raises(UserError, match="cannot be unpacked"):
        sdk._unpack(tmp_path / "model.tar.gz", tmp_path / "root")
    assert not (tmp_path / "root" / "escaped").exists()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"status": 400, "reason": "The image is truncated."}', "The image is truncated."),
        (b'{"error": "is truncated"}', "is truncated"),
        (b"plain words\n", "plain words"),
        (b"[1]", "[1]"),
        (b"\xff", "�"),
    ],
)
def test_the_reason_for_a_rejected_request_is_found_in_any_body(body: bytes, reason: str) -> None:
    assert invocations.reason(body) == reason


def test_a_classification_is_shown_as_its_class_and_probability() -> None:
    response = {"predicted_label": "Bengal", "labels": ["Abyssinian", "Bengal"], "probabilities": [0.1, 0.9]}
    assert predict.readable(json.dumps(response)) == ["Bengal  0.900"]


def test_confident_detections_are_shown_and_at_least_the_best_one() -> None:
    box = {"left": 0.25, "top": 0.1, "width": 0.5, "height": 0.125}
    confident = [
        {"label": name, "class_id": 0, "score": score, "box": box} for name, score in (("cat", 0.9), ("dog", 0.6))
    ]
    doubtful = [{**confident[0], "score": 0.3}, {**confident[1], "score": 0.2}]
    place = "left 0.250 top 0.100 width 0.500 height 0.125"
    assert predict.readable(json.dumps({"prediction": [*doubtful, *confident]})) == [
        f"cat  0.900  {place}",
        f"dog  0.600  {place}",
    ]
    assert predict.readable(json.dumps({"prediction": doubtful})) == [f"cat  0.300  {place}"]
    assert predict.readable(json.dumps({"prediction": []})) == ["nothing found"]


def test_a_response_of_an_unknown_form_is_shown_unchanged() -> None:
    assert predict.readable('{"mask": 1}\n') == ['{"mask": 1}']
    assert predict.readable('{"prediction": [0.1, 0.9]}') == ['{"prediction": [0.1, 0.9]}']


MASKED = {
    "width": 2,
    "height": 1,
    "classes": [
        {"label": "pet", "class_id": 0, "share": 0.25},
        {"label": "border", "class_id": 1, "share": 0.0},
        {"label": "background", "class_id": 2, "share": 0.75},
    ],
    "mask": base64.b64encode(b"\x89PNG mask").decode(),
}


@dataclass
class FakeEndpoint:
    """The port of an endpoint, and the body and the Accept header of each request to it."""

    port: int
    requests: list[tuple[bytes, str | None]]


@pytest.fixture
def start_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, bytes]], FakeEndpoint]]:
    """Return a function that writes photos into the current folder and starts an endpoint for them.

    The content of each photo is its name. The endpoint returns that photo's response. For any other body it returns 400
    with a reason.
    """
    responses: dict[bytes, bytes] = {}
    requests: list[tuple[bytes, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            requests.append((body, self.headers["Accept"]))
            is_known = self.path == "/invocations" and body in responses
            self.send_response(200 if is_known else 400)
            self.end_headers()
            self.wfile.write(responses[body] if is_known else b'{"status": 400, "reason": "This is not an image."}')

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    monkeypatch.chdir(tmp_path)
    with serving(Handler) as port:

        def start(photos: dict[str, bytes]) -> FakeEndpoint:
            for name, response in photos.items():
                Path(name).parent.mkdir(exist_ok=True)
                Path(name).write_bytes(name.encode())
                responses[name.encode()] = response
            return FakeEndpoint(port, requests)

        yield start


StartEndpoint = Callable[[dict[str, bytes]], FakeEndpoint]
PUG = json.dumps({"predicted_label": "pug", "labels": ["pug"], "probabilities": [1.0]}).encode()


def predict_on(port: int, *arguments: str) -> int:
    return program.main(["predict", *arguments, "--port", str(port)])


@pytest.mark.parametrize(
    ("bad", "message", "code"),
    [
        ("absent.jpg", "absent.jpg cannot be read (No such file or directory): give the path of an image file", 2),
        ("notes.txt", "notes.txt: the endpoint returned 400 Bad Request: This is not an image.", 1),
    ],
)
def test_a_photo_that_fails_is_reported_and_the_others_are_predicted(
    start_endpoint: StartEndpoint, capsys: pytest.CaptureFixture[str], bad: str, message: str, code: int
) -> None:
    endpoint = start_endpoint({"a.jpg": PUG, "c.jpg": PUG})
    Path("notes.txt").write_text("notes")
    assert predict_on(endpoint.port, "a.jpg", bad, "c.jpg") == code
    output = capsys.readouterr()
    assert output.out == "a.jpg  pug  1.000\nc.jpg  pug  1.000\n"
    assert output.err == f"predict: {message}\n"


def test_without_an_endpoint_predict_stops_at_the_first_photo(
    start_endpoint: StartEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    start_endpoint({"a.jpg": PUG, "c.jpg": PUG})
    port = programs.free_port()
    assert predict_on(port, "a.jpg", "c.jpg") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"predict: no endpoint on port {port} (")
    assert line.endswith("start an endpoint with `python3 -m local deploy`")


def test_predict_imports_no_sdk(start_endpoint: StartEndpoint) -> None:
    endpoint = start_endpoint({"a.jpg": PUG})
    code = (
        "import sys; from local.__main__ import main; main(sys.argv[1:]); "
        "print([name for name in ('sagemaker', 'boto3', 'botocore', 'requests') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", "a.jpg", "--port", str(endpoint.port)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == ["a.jpg  pug  1.000", "[]"], done.stderr


@pytest.mark.parametrize("command", ["predict a.jpg", "deploy inference --model m", "local-mode image-classification"])
@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_an_invalid_port_is_rejected_at_once(command: str, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main([*command.split(), f"--port={port}"])
    assert f"'{port}' is not a port: give a number from 1 to 65535" in capsys.readouterr().err


def test_a_mask_is_shown_as_the_shares_of_its_classes_and_written_to_the_folder(
    start_endpoint: StartEndpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = start_endpoint({name: json.dumps(MASKED).encode() for name in ("a.jpg", "b.png")})
    assert predict_on(endpoint.port, "a.jpg", "b.png", "--masks", "masks/of pets") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{photo}  {shares}" for photo in ("a.jpg", "b.png") for shares in ("background  0.750", "pet  0.250")
    ]
    assert {file.name: file.read_bytes() for file in (tmp_path / "masks" / "of pets").iterdir()} == {
        "a.png": b"\x89PNG mask",
        "b.png": b"\x89PNG mask",
    }
    assert endpoint.requests == [(b"a.jpg", "application/json;verbose"), (b"b.png", "application/json;verbose")]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("a/1.jpg", "b/1.jpg"), ("--masks", "out"), "a/1.jpg and b/1.jpg would both be written to 1.png"),
        (("a/1.png",), ("--masks", "a"), "would overwrite a/1.png: name another folder"),
        (
            ("1.jpg",),
            ("--accept", "image/png"),
            "--accept image/png returns 10 bytes that are not text: use --masks DIR",
        ),
        (("2.jpg",), ("--masks", "out"), "the endpoint's response has no mask"),
    ],
)
def test_masks_that_cannot_be_written_are_rejected_in_one_line_and_no_photo_is_replaced(
    start_endpoint: StartEndpoint,
    tmp_path: Path,
    names: tuple[str, ...],
    options: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    responses = {name: b"\x89PNG\r\n mask"[:10] if name == "1.jpg" else b'{"prediction": []}' for name in names}
    endpoint = start_endpoint(responses)
    assert predict_on(endpoint.port, *names, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()} == set(names)
    assert all((tmp_path / name).read_bytes() == name.encode() for name in names)


def test_the_next_commands_can_be_pasted_into_a_shell_for_any_folder_name() -> None:
    parser = argparse.ArgumentParser()
    local_mode.add_arguments(parser)
    args = parser.parse_args(["object-detection", "--port", "8081"])
    model, photo = Path("Ann's pets/model.tar.gz"), Path("Ann's pets/a b.jpg")
    deploy_command, predict_command = local_mode._next_commands(args, sdk.default_image(args.name), model, photo)
    assert shlex.split(deploy_command) == [
        "python3",
        "-m",
        "local",
        "deploy",
        "object-detection",
        "--model",
        "Ann's pets/model.tar.gz",
        "--port",
        "8081",
    ]
    assert shlex.split(predict_command) == ["python3", "-m", "local", "predict", "Ann's pets/a b.jpg", "--port", "8081"]


def test_hyperparameters_may_hold_an_equals_sign_and_commas() -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    arguments = ["image-classification", "--channels", "c", "--hyperparameters", "image_shape=3,64,64", "a=b=c"]
    assert dict(parser.parse_args(arguments).hyperparameters) == {"image_shape": "3,64,64", "a": "b=c"}


def test_hyperparameters_of_several_options_add_up() -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    arguments = [
        "image-classification",
        "--hyperparameters",
        "epochs=2",
        "--channels",
        "c",
        "--hyperparameters",
        "seed=1",
    ]
    assert dict(parser.parse_args(arguments).hyperparameters) == {"epochs": "2", "seed": "1"}


@pytest.mark.parametrize("between", [(), ("--hyperparameters",)])
def test_a_hyperparameter_that_is_given_twice_is_rejected_before_anything_starts(
    between: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # docker is not on PATH
    options = ["--hyperparameters", "epochs=2", "seed=1", *between, "epochs=3"]
    assert program.main(["train", "image-classification", "--channels", "c", *options]) == 2
    assert capsys.readouterr().err == "train: --hyperparameters has epochs=2 and epochs=3: remove one of them\n"


def test_a_hyperparameter_without_a_value_is_rejected_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["image-classification", "--channels", "c", "--hyperparameters", "epochs"])
    assert "epochs is not of the form NAME=VALUE, such as epochs=2" in capsys.readouterr().err


@pytest.mark.parametrize("module", [train, deploy, predict, local_mode])
def test_every_option_of_a_command_has_a_help_text(module: object) -> None:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)  # type: ignore[attr-defined]
    assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize("page", ["switching.md", "local-mode.md"])
def test_links_and_python_snippets_in_the_docs_are_valid(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+\.md)", text):
        assert (DOCS / target).is_file(), target
    for code in re.findall(r"<!-- snippet: sdk[\w-]+ -->\n```python\n(.*?)```", text, re.DOTALL):
        compile(code, page, "exec")
