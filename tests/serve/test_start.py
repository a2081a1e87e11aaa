"""Starting the real server: its first log lines, its requirements, and errors in one sentence."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from serve import __version__, machine
from tests.environments import REPOSITORY
from tests.photos import solid
from tests.server import Server


def test_the_first_log_lines_give_version_cpus_memory_port_workers_and_model(classifier: Server, models: Path) -> None:
    first = classifier.log()[:3]
    assert f"serve {__version__}, {machine.cpu_count()} CPUs" in first[0]
    assert "GiB memory" in first[0]
    assert f"port {classifier.port}, 1 worker process; limits per process: " in first[1]
    folder = models / "classifier" / "model"
    assert f"model {folder}, image-classification channel means, 3 classes, input 3 x 8 x 8 (crop)" in first[2]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"SAGEMAKER_BASE_DIR": "/nowhere"}, "/nowhere/model/model.json is missing: the folder does not exist"),
        ({"SAGEMAKER_BIND_TO_PORT": "http"}, "SAGEMAKER_BIND_TO_PORT is 'http'; it must be a whole number"),
        ({"VISION_QUEUE_SIZE": "-1"}, "VISION_QUEUE_SIZE is '-1'; it must be a whole number from 0 to 1000"),
    ],
)
def test_an_invalid_setting_ends_the_process_before_it_binds(
    models: Path, variables: dict[str, str], message: str
) -> None:
    with Server(models / "classifier", **variables) as server:
        assert server.wait(30) == 1
        assert server.wait_for("serve: ").startswith(f"serve: {message}")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda path: path.write_text("[" * 5000 + "]" * 5000),
            "is nested too deeply. Restore the file that `train` wrote.",
        ),
        (
            lambda path: path.write_text('{"a": %s}' % ("9" * 5000)),
            "has a number with too many digits. Restore the file that `train` wrote.",
        ),
        (os.mkfifo, "cannot be read: it is not a file. Make it readable, or train again."),
        (
            lambda path: path.symlink_to("/dev/zero"),
            "cannot be read: it is not a file. Make it readable, or train again.",
        ),
    ],
    ids=["nested", "digits", "pipe", "device"],
)
def test_an_unreadable_model_json_ends_the_server_with_one_sentence(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / "model" / "model.json"
    path.parent.mkdir()
    make(path)
    with Server(tmp_path) as server:
        assert server.wait(20) == 1
        assert server.wait_for("serve: ") == f"serve: {path} {message}"
        assert server.log() == [f"serve: {path} {message}", "(end of the log)"]


def test_the_model_folder_may_be_read_only_and_nothing_is_written_next_to_it(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "classifier" / "model", tmp_path / "model")
    (tmp_path / "model").chmod(0o555)
    with Server(tmp_path, HOME="/nonexistent") as server:
        assert server.wait_until_ready().request("POST", "/invocations", solid(255, 0, 0)).status == 200
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["model", "model.json", "model.onnx"]


def modules_after(imports: str) -> set[str]:
    """Return the modules that the statement `imports` loads in a new process."""
    code = f"import json, sys\nbefore = set(sys.modules)\n{imports}\nprint(json.dumps([*set(sys.modules) - before]))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, check=True)
    return set(json.loads(done.stdout))


def test_serving_imports_no_framework_and_nothing_from_train_or_local() -> None:
    modules = {name.partition(".")[0] for name in modules_after("import serve.http.application, serve.engine.runtime")}
    assert {"serve", "flask", "onnxruntime"} <= modules
    assert not modules & {"train", "local", "mxnet", "gluoncv", "tensorflow", "onnx", "sagemaker_training"}


def test_import_serve_loads_nothing_else() -> None:
    assert modules_after("import serve") == {"serve"}
