"""How a job starts and fails: its folders, its configuration, the failure file, and what the toolkit may log."""

import errno
import json
import logging
import os
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from train import entry
from train.errors import TrainError, UserError
from train.job import configuration, earlier_model
from train.job.training import Algorithm

FILES: dict[str, Any] = {
    "hyperparameters.json": {"epochs": "1"},
    "inputdataconfig.json": {"train": {}},
    "resourceconfig.json": {"current_host": "algo-1", "hosts": ["algo-1"]},
}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like /opt/ml with a complete configuration, which `train` uses."""
    (tmp_path / "input" / "config").mkdir(parents=True)
    for name, value in FILES.items():
        (tmp_path / "input" / "config" / name).write_text(json.dumps(value))
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


def failure(base: Path) -> str:
    """Return the reason that SageMaker would show."""
    return (base / "output" / "failure").read_text()


# ---- starting ---------------------------------------------------------------------------------------------------


def test_a_complete_configuration_is_accepted_and_the_folders_are_created_empty(base: Path) -> None:
    entry.prepare()
    assert (list((base / "model").iterdir()), list((base / "output").iterdir())) == ([], [])


def test_the_reports_of_an_earlier_run_in_the_same_folder_are_removed_first(base: Path) -> None:
    (base / "output").mkdir()
    for name in ("failure", "success"):
        (base / "output" / name).write_text("an earlier run")
    entry.prepare()
    assert list((base / "output").iterdir()) == []


@pytest.mark.parametrize(
    ("hyperparameters", "earlier_value", "value"),
    [({"seed": "3"}, None, "0"), ({}, None, None), ({"seed": ""}, None, None), ({"seed": "3"}, "1", "1")],
)
def test_with_a_seed_cudnn_does_not_choose_its_algorithms_by_speed_unless_the_user_wants_it(
    hyperparameters: dict[str, str],
    earlier_value: str | None,
    value: str | None,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "MXNET_CUDNN_AUTOTUNE_DEFAULT"
    monkeypatch.setenv(name, "to be removed at the end of the test")
    monkeypatch.delenv(name) if earlier_value is None else monkeypatch.setenv(name, earlier_value)
    monkeypatch.setenv(entry.ALGORITHM, "image-classification")
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    values = []

    def algorithm(name: str) -> None:  # replaces the function that imports MXNet
        values.append(os.environ.get("MXNET_CUDNN_AUTOTUNE_DEFAULT"))
        raise UserError("the test ends here")

    monkeypatch.setattr(entry, "algorithm", algorithm)
    with pytest.raises(UserError, match="the test ends here"):
        entry.main()
    assert values == [value]


EARLIER = {
    "model.onnx",
    "model.json",
    "model.keras",
    "1/saved_model.pb",
    "1/variables/variables.index",
    "image-classification-0030.params",
    "model_best.params",
    "model-1.onnx",
    "notes.txt",
    "code/inference.py",
    "1/NOTES.txt",
    "start.keras",
    "archive/2024-06/saved_model.pb",
}


@pytest.fixture
def base_with_model(base: Path) -> Path:
    """A folder with the model of an earlier job and files of the user."""
    for name in EARLIER:
        path = base / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("an earlier run")
    return base


def model_files(base: Path) -> dict[str, str]:
    """Return the files in the model folder with their contents."""
    folder = base / "model"
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def run_job(base: Path, *names: str) -> None:
    """Run an accepted job that leaves these files."""
    earlier_model.set_aside(base / "model")
    for name in names:
        (base / "model" / name).write_text("this run")


def run_failing_job(base: Path, *names: str) -> None:
    """Run a job that fails after it was accepted, and leaves these files."""
    with earlier_model.restored_on_failure(base / "model"):
        run_job(base, *names)
        raise ZeroDivisionError


USER_FILES = {"notes.txt", "code/inference.py", "1/NOTES.txt", "start.keras", "archive/2024-06/saved_model.pb"}
ASIDE = {f"{earlier_model.ASIDE}/{name}" for name in EARLIER - USER_FILES}


def test_an_earlier_model_stays_if_this_job_cannot_start(base_with_model: Path) -> None:
    (base_with_model / "input" / "config" / "hyperparameters.json").write_text("{")
    with pytest.raises(SystemExit):
        entry.prepare()
    assert set(model_files(base_with_model)) == EARLIER


@pytest.mark.parametrize("error", [UserError("a typo"), TrainError("no weights"), KeyError("a bug")])
def test_an_earlier_model_stays_if_this_job_is_rejected(
    error: Exception, base_with_model: Path, run_with: Callable[[Exception], None]
) -> None:
    with pytest.raises(TrainError):
        run_with(error)
    assert model_files(base_with_model) == dict.fromkeys(EARLIER, "an earlier run")


def test_a_new_model_replaces_the_earlier_one_and_the_users_files_stay(base_with_model: Path) -> None:
    with earlier_model.restored_on_failure(base_with_model / "model"):
        run_job(base_with_model, "model.onnx", "model.json")
    assert model_files(base_with_model) == dict.fromkeys(USER_FILES, "an earlier run") | dict.fromkeys(
        ("model.onnx", "model.json"), "this run"
    )
    assert not (base_with_model / "model" / earlier_model.ASIDE).exists()


def test_an_earlier_model_is_restored_if_this_job_fails_before_it_writes_anything(
    base_with_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="train"), pytest.raises(ZeroDivisionError):
        run_failing_job(base_with_model)
    assert model_files(base_with_model) == dict.fromkeys(EARLIER, "an earlier run")
    assert (
        f"This job wrote no model; restored the model of an earlier job to {base_with_model}/model" in caplog.messages
    )


def test_an_earlier_model_stays_aside_if_this_job_fails_and_leaves_unfinished_files(base_with_model: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_failing_job(base_with_model, "model_best.params")
    assert model_files(base_with_model) == dict.fromkeys(ASIDE | USER_FILES, "an earlier run") | {
        "model_best.params": "this run"
    }


def test_an_earlier_model_never_mixes_with_the_files_of_a_failed_job(
    base_with_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="train"), pytest.raises(ZeroDivisionError):
        # The earlier SavedModel has a folder with this name.
        run_failing_job(base_with_model, "1/variables")
    assert model_files(base_with_model) == dict.fromkeys(ASIDE | USER_FILES, "an earlier run") | {
        "1/variables": "this run"
    }
    assert f"The model of an earlier job is kept in {base_with_model}/model/{earlier_model.ASIDE}" in caplog.messages


@pytest.mark.parametrize("killed", [True, False])
def test_an_earlier_model_is_not_served_as_the_model_of_a_job_that_was_stopped_without_one(
    killed: bool, base_with_model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="train"):
        if killed:
            run_job(base_with_model)  # then the process ends
        else:
            with earlier_model.restored_on_failure(base_with_model / "model"):
                run_job(base_with_model)
    assert set(model_files(base_with_model)) == ASIDE | USER_FILES
    assert any(f"{base_with_model}/model/{earlier_model.ASIDE}" in message for message in caplog.messages)


def test_a_model_set_aside_survives_a_second_job_without_a_model_and_a_third_that_is_rejected(
    base_with_model: Path, run_with: Callable[[Exception], None]
) -> None:
    run_job(base_with_model, "model_best.params")
    run_job(base_with_model)
    assert set(model_files(base_with_model)) >= ASIDE
    (base_with_model / "model" / "model_best.params").unlink()
    with pytest.raises(UserError):
        run_with(UserError("a typo"))
    assert set(model_files(base_with_model)) == EARLIER


def test_a_model_set_aside_is_replaced_by_a_newer_one(base_with_model: Path) -> None:
    run_job(base_with_model, "model.onnx", "model.json")
    run_job(base_with_model)
    assert model_files(base_with_model) == dict.fromkeys(USER_FILES, "an earlier run") | {
        f"{earlier_model.ASIDE}/{name}": "this run" for name in ("model.onnx", "model.json")
    }


def test_the_failure_file_holds_the_reason_of_this_run_and_not_of_an_earlier_one(base: Path) -> None:
    (base / "output").mkdir()
    (base / "output" / "failure").write_text("an earlier reason")
    (base / "input" / "config" / "hyperparameters.json").unlink()
    with pytest.raises(SystemExit):
        entry.prepare()
    assert failure(base).startswith(f"ClientError: {base}/input/config/hyperparameters.json is missing")


@pytest.mark.parametrize("name", ["model", "output"])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EROFS, "(Read-only file system): mount it writable, without :ro"),
        (errno.EACCES, "(Permission denied): give the container's user write permission"),
        (errno.ENOSPC, "(No space left on device): free space there, or set a larger volume_size"),
    ],
)
def test_a_folder_that_cannot_be_written_ends_the_job_before_data_is_read(
    name: str, number: int, message: str, base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make = tempfile.TemporaryFile

    def refuse(**options: Any) -> IO[bytes]:
        if Path(options["dir"]) == base / name:
            raise OSError(number, os.strerror(number))
        return make(**options)

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with caplog.at_level(logging.ERROR, logger="train"), pytest.raises(SystemExit) as ended:
        entry.prepare()
    assert ended.value.code == 2
    assert f"ClientError: {base}/{name} cannot be written {message}" in caplog.messages


def test_a_file_in_place_of_the_model_folder_is_reported(base: Path) -> None:
    (base / "model").write_text("")
    with pytest.raises(SystemExit) as ended:
        entry.prepare()
    assert ended.value.code == 2
    assert failure(base).startswith(f"ClientError: {base}/model cannot be written (File exists): it must be a folder")


def test_if_the_output_folder_cannot_be_written_the_reason_is_in_the_log(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (base / "output").write_text("")
    with caplog.at_level(logging.ERROR, logger="train"), pytest.raises(SystemExit):
        entry.prepare()
    assert caplog.messages[0].startswith(f"ClientError: {base}/output cannot be written (File exists)")


# ---- configuration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": "1",\n "b" "2"}', ", line 2 is not JSON: Expecting ':' delimiter"),
        (b"{'a': 1}", ", line 1 is not JSON: Expecting property name enclosed in double quotes"),
        (b"", " is empty: "),
        (b" \n", " is empty: "),
        (b'\xef\xbb\xbf{"a": "1"}', ", line 1 is not JSON: Unexpected UTF-8 BOM"),
        (b'{"\xff": "1"}', " is not UTF-8 text"),
        (b"[" * 100_000, " is not JSON: it is nested too deeply"),
        (b"[1]", " contains a JSON list: it must contain one object"),
        (b"null", " contains a JSON null: it must contain one object"),
    ],
)
def test_a_configuration_file_that_is_not_a_json_object_is_reported_with_its_line_and_exits_2(
    content: bytes, message: str, name: str, base: Path
) -> None:
    (base / "input" / "config" / name).write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        entry.prepare()
    assert ended.value.code == 2
    assert failure(base).startswith(f"ClientError: {base}/input/config/{name}{message}")
    assert f"such as {json.dumps(configuration.EXAMPLES[name])}" in failure(base)


@pytest.mark.parametrize("config", [{}, {"hosts": ["a"]}, {"current_host": "a"}, {"current_host": 1, "hosts": ["a"]}])
def test_a_resource_configuration_without_hosts_is_rejected_with_an_example(config: dict[str, Any], base: Path) -> None:
    (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit):
        entry.prepare()
    assert "resourceconfig.json lacks " in failure(base)
    assert '{"current_host": "algo-1", "hosts": ["algo-1"]}' in failure(base)


# ---- failing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run_with(base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """`run_with(error)` runs a job that fails with this error."""

    def run(error: Exception) -> None:
        def fail(*_: Any) -> None:
            raise error

        job = types.ModuleType("failing_job")
        job.ALGORITHM = Algorithm(fail, fail)
        monkeypatch.setitem(sys.modules, "failing_job", job)
        monkeypatch.setitem(entry.ALGORITHMS, "failing", "failing_job")
        monkeypatch.setenv(entry.ALGORITHM, "failing")
        entry.prepare()
        entry.main()

    return run


def test_an_unexpected_error_exits_1_with_the_reason_first_and_the_traceback_after_it(
    run_with: Callable[[Exception], None], base: Path
) -> None:
    with pytest.raises(TrainError) as caught:
        run_with(KeyError("a bug of ours"))
    assert caught.value.errno == 1
    assert failure(base).startswith("KeyError: 'a bug of ours' (at test_train_entry.py, line ")
    assert "\n\nTraceback" in failure(base)


def test_an_error_that_starts_with_a_heading_is_reported_with_the_line_that_says_what_is_wrong(
    run_with: Callable[[Exception], None], base: Path
) -> None:
    with pytest.raises(TrainError):
        run_with(
            ValueError("Graph execution error:\n\n" + "Detected at node x\n" * 99 + "Shapes differ\n\t [[{{node x}}]]")
        )
    assert failure(base).startswith("ValueError: Graph execution error: Shapes differ (at test_train_entry.py, line ")


def test_the_failure_file_is_at_most_as_long_as_sagemaker_shows(
    run_with: Callable[[Exception], None], base: Path
) -> None:
    with pytest.raises(UserError):
        run_with(UserError("x" * 3000))
    assert failure(base) == "ClientError: " + "x" * (1024 - 13)


def test_a_file_name_that_is_not_utf8_is_in_the_failure_file_with_its_bytes_escaped(
    run_with: Callable[[Exception], None], base: Path
) -> None:
    with pytest.raises(UserError):
        run_with(UserError(os.fsdecode(b"caf\xe9.jpg") + " and caf\u00e9.jpg cannot be read"))
    assert (base / "output" / "failure").read_bytes() == (
        b"ClientError: caf\\udce9.jpg and caf\xc3\xa9.jpg cannot be read"
    )


def test_the_toolkit_does_not_repeat_a_failure_that_was_already_reported(
    run_with: Callable[[Exception], None], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TrainError):
        run_with(TrainError("the reason"))
    toolkit = logging.getLogger("sagemaker-training-toolkit")
    with caplog.at_level(logging.INFO, logger=toolkit.name):
        toolkit.error("Framework Error: \nTraceback ...")
        toolkit.info("Failure file exists. Skipping creation....")
        toolkit.error("Reporting training FAILURE")
    assert [record.getMessage() for record in caplog.records if record.name == toolkit.name] == [
        "Reporting training FAILURE"
    ]
