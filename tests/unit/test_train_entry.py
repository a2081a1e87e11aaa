"""How a job begins and how it fails: its folders and its configuration, the failure file, what the toolkit may say."""

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
    """A folder like /opt/ml with a whole configuration, and the one that `train` is told of."""
    (tmp_path / "input" / "config").mkdir(parents=True)
    for name, value in FILES.items():
        (tmp_path / "input" / "config" / name).write_text(json.dumps(value))
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    return tmp_path


def failure(base: Path) -> str:
    """The reason that SageMaker would show."""
    return (base / "output" / "failure").read_text()


# ---- beginning --------------------------------------------------------------------------------------------------


def test_a_whole_configuration_is_let_through_and_the_folders_are_made_and_left_empty(base: Path) -> None:
    entry.prepare()
    assert (list((base / "model").iterdir()), list((base / "output").iterdir())) == ([], [])


def test_what_an_earlier_run_in_the_same_folder_reported_is_removed_first(base: Path) -> None:
    (base / "output").mkdir()
    for name in ("failure", "success"):
        (base / "output" / name).write_text("an earlier run")
    entry.prepare()
    assert list((base / "output").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "earlier_value", "value"),
    [({"seed": "3"}, None, "0"), ({}, None, None), ({"seed": ""}, None, None), ({"seed": "3"}, "1", "1")],
)
def test_with_a_seed_cudnn_does_not_choose_its_algorithms_by_time_unless_the_user_wants_it(
    given: dict[str, str], earlier_value: str | None, value: str | None, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "MXNET_CUDNN_AUTOTUNE_DEFAULT"
    monkeypatch.setenv(name, "to be removed at the end of the test")
    monkeypatch.delenv(name) if earlier_value is None else monkeypatch.setenv(name, earlier_value)
    monkeypatch.setenv(entry.ALGORITHM, "image-classification")
    (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(given))
    seen = []

    def algorithm(name: str) -> None:  # in the place of what imports MXNet
        seen.append(os.environ.get("MXNET_CUDNN_AUTOTUNE_DEFAULT"))
        raise UserError("the test ends here")

    monkeypatch.setattr(entry, "algorithm", algorithm)
    with pytest.raises(UserError, match="the test ends here"):
        entry.main()
    assert seen == [value]


EARLIER = {
    *("model.onnx", "model.json", "model.keras", "1/saved_model.pb", "1/variables/variables.index"),
    *("image-classification-0030.params", "model_best.params", "model-1.onnx"),
    *("notes.txt", "code/inference.py", "1/NOTES.txt", "start.keras", "archive/2024-06/saved_model.pb"),
}


@pytest.fixture
def again(base: Path) -> Path:
    """A folder with the model of an earlier job, and files of the user's."""
    for name in EARLIER:
        path = base / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("an earlier run")
    return base


def left(base: Path) -> dict[str, str]:
    """The files in the model folder."""
    folder = base / "model"
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def accepted(base: Path, *names: str) -> None:
    """A job from its acceptance on, that leaves these files."""
    earlier_model.set_aside(base / "model")
    for name in names:
        (base / "model" / name).write_text("this run")


def failing(base: Path, *names: str) -> None:
    """A job that fails after its acceptance, and leaves these files."""
    with earlier_model.restored_on_failure(base / "model"):
        accepted(base, *names)
        raise ZeroDivisionError


USERS = {"notes.txt", "code/inference.py", "1/NOTES.txt", "start.keras", "archive/2024-06/saved_model.pb"}
ASIDE = {f"{earlier_model.ASIDE}/{name}" for name in EARLIER - USERS}


def test_an_earlier_model_stays_when_this_job_cannot_begin(again: Path) -> None:
    (again / "input" / "config" / "hyperparameters.json").write_text("{")
    with pytest.raises(SystemExit):
        entry.prepare()
    assert set(left(again)) == EARLIER


@pytest.mark.parametrize("error", [UserError("a typo"), TrainError("no weights"), KeyError("a bug")])
def test_an_earlier_model_stays_when_this_job_is_refused(
    error: Exception, again: Path, run_of: Callable[[Exception], None]
) -> None:
    with pytest.raises(TrainError):
        run_of(error)
    assert left(again) == dict.fromkeys(EARLIER, "an earlier run")


def test_an_earlier_model_makes_way_for_this_jobs_and_what_is_the_users_stays(again: Path) -> None:
    with earlier_model.restored_on_failure(again / "model"):
        accepted(again, "model.onnx", "model.json")
    assert left(again) == dict.fromkeys(USERS, "an earlier run") | dict.fromkeys(
        ("model.onnx", "model.json"), "this run"
    )
    assert not (again / "model" / earlier_model.ASIDE).exists()


def test_an_earlier_model_is_back_in_its_place_when_this_job_has_failed_before_it_left_anything(
    again: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="train"), pytest.raises(ZeroDivisionError):
        failing(again)
    assert left(again) == dict.fromkeys(EARLIER, "an earlier run")
    assert f"This job wrote no model; restored the model of an earlier job to {again}/model" in caplog.messages


def test_an_earlier_model_is_kept_aside_when_this_job_has_failed_and_left_something_unfinished(again: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        failing(again, "model_best.params")
    assert left(again) == dict.fromkeys(ASIDE | USERS, "an earlier run") | {"model_best.params": "this run"}


def test_an_earlier_model_never_mixes_with_what_a_failed_job_has_left_in_its_place(
    again: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="train"), pytest.raises(ZeroDivisionError):
        failing(again, "1/variables")  # a SavedModel's first part, where the earlier one has a folder
    assert left(again) == dict.fromkeys(ASIDE | USERS, "an earlier run") | {"1/variables": "this run"}
    assert f"The model of an earlier job is kept in {again}/model/{earlier_model.ASIDE}" in caplog.messages


@pytest.mark.parametrize("killed", [True, False])
def test_an_earlier_model_is_not_served_as_that_of_a_job_that_was_stopped_before_it_had_one(
    killed: bool, again: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="train"):
        if killed:
            accepted(again)  # and the process ends
        else:
            with earlier_model.restored_on_failure(again / "model"):
                accepted(again)
    assert set(left(again)) == ASIDE | USERS
    assert any(f"{again}/model/{earlier_model.ASIDE}" in message for message in caplog.messages)


def test_a_model_set_aside_survives_a_second_job_that_ends_without_one_and_a_third_that_is_refused(
    again: Path, run_of: Callable[[Exception], None]
) -> None:
    accepted(again, "model_best.params")
    accepted(again)
    assert set(left(again)) >= ASIDE
    (again / "model" / "model_best.params").unlink()
    with pytest.raises(UserError):
        run_of(UserError("a typo"))
    assert set(left(again)) == EARLIER


def test_a_model_set_aside_gives_way_to_a_newer_one(again: Path) -> None:
    accepted(again, "model.onnx", "model.json")
    accepted(again)
    assert left(again) == dict.fromkeys(USERS, "an earlier run") | {
        f"{earlier_model.ASIDE}/{name}": "this run" for name in ("model.onnx", "model.json")
    }


def test_the_failure_file_gives_the_reason_of_this_run_and_not_of_an_earlier_one(base: Path) -> None:
    (base / "output").mkdir()
    (base / "output" / "failure").write_text("an earlier reason")
    (base / "input" / "config" / "hyperparameters.json").unlink()
    with pytest.raises(SystemExit):
        entry.prepare()
    assert failure(base).startswith(f"ClientError: {base}/input/config/hyperparameters.json is missing")


@pytest.mark.parametrize("name", ["model", "output"])
@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EROFS, "(Read-only file system): mount it writable, without :ro"),
        (errno.EACCES, "(Permission denied): let the user that this container runs as write there"),
        (errno.ENOSPC, "(No space left on device): free space there, or set a larger volume_size"),
    ],
)
def test_a_folder_that_cannot_be_written_ends_the_job_before_any_data_is_read(
    name: str, number: int, told: str, base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make = tempfile.TemporaryFile

    def refuse(**how: Any) -> IO[bytes]:
        if Path(how["dir"]) == base / name:
            raise OSError(number, os.strerror(number))
        return make(**how)

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with caplog.at_level(logging.ERROR, logger="train"), pytest.raises(SystemExit) as ended:
        entry.prepare()
    assert ended.value.code == 2
    assert f"ClientError: {base}/{name} cannot be written {told}" in caplog.messages


def test_a_file_where_the_model_folder_should_be_is_named(base: Path) -> None:
    (base / "model").write_text("")
    with pytest.raises(SystemExit) as ended:
        entry.prepare()
    assert ended.value.code == 2
    assert failure(base).startswith(f"ClientError: {base}/model cannot be written (File exists): it must be a folder")


def test_an_output_folder_that_cannot_be_written_leaves_the_reason_in_the_log(
    base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (base / "output").write_text("")
    with caplog.at_level(logging.ERROR, logger="train"), pytest.raises(SystemExit):
        entry.prepare()
    assert caplog.messages[0].startswith(f"ClientError: {base}/output cannot be written (File exists)")


# ---- configuration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "said"),
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
def test_a_configuration_file_that_is_no_json_object_is_named_with_its_line_and_exits_2(
    content: bytes, said: str, name: str, base: Path
) -> None:
    (base / "input" / "config" / name).write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        entry.prepare()
    assert ended.value.code == 2
    assert failure(base).startswith(f"ClientError: {base}/input/config/{name}{said}")
    assert f"such as {json.dumps(configuration.EXAMPLES[name])}" in failure(base)


@pytest.mark.parametrize("config", [{}, {"hosts": ["a"]}, {"current_host": "a"}, {"current_host": 1, "hosts": ["a"]}])
def test_a_resource_configuration_without_hosts_is_refused_with_an_example(config: dict[str, Any], base: Path) -> None:
    (base / "input" / "config" / "resourceconfig.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit):
        entry.prepare()
    assert "resourceconfig.json lacks " in failure(base)
    assert '{"current_host": "algo-1", "hosts": ["algo-1"]}' in failure(base)


# ---- failing ----------------------------------------------------------------------------------------------------


@pytest.fixture
def run_of(base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """`run_of(error)`: a job that fails with this error."""

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


def test_an_unexpected_error_exits_1_with_the_sentence_first_and_the_trace_after_it(
    run_of: Callable[[Exception], None], base: Path
) -> None:
    with pytest.raises(TrainError) as caught:
        run_of(KeyError("a bug of ours"))
    assert caught.value.errno == 1
    assert failure(base).startswith("KeyError: 'a bug of ours' (at test_train_entry.py, line ")
    assert "\n\nTraceback" in failure(base)


def test_an_error_that_begins_with_an_announcement_is_told_by_the_line_that_says_what_is_wrong(
    run_of: Callable[[Exception], None], base: Path
) -> None:
    with pytest.raises(TrainError):
        run_of(
            ValueError("Graph execution error:\n\n" + "Detected at node x\n" * 99 + "Shapes differ\n\t [[{{node x}}]]")
        )
    assert failure(base).startswith("ValueError: Graph execution error: Shapes differ (at test_train_entry.py, line ")


def test_the_failure_file_holds_at_most_what_sagemaker_shows(run_of: Callable[[Exception], None], base: Path) -> None:
    with pytest.raises(UserError):
        run_of(UserError("x" * 3000))
    assert failure(base) == "ClientError: " + "x" * (1024 - 13)


def test_a_file_name_that_is_no_utf8_reaches_the_failure_file_with_its_bytes_escaped(
    run_of: Callable[[Exception], None], base: Path
) -> None:
    with pytest.raises(UserError):
        run_of(UserError(os.fsdecode(b"caf\xe9.jpg") + " and caf\u00e9.jpg cannot be read"))
    assert (base / "output" / "failure").read_bytes() == (
        b"ClientError: caf\\udce9.jpg and caf\xc3\xa9.jpg cannot be read"
    )


def test_the_toolkit_does_not_repeat_or_comment_a_failure_that_was_told(
    run_of: Callable[[Exception], None], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TrainError):
        run_of(TrainError("the reason"))
    toolkit = logging.getLogger("sagemaker-training-toolkit")
    with caplog.at_level(logging.INFO, logger=toolkit.name):
        toolkit.error("Framework Error: \nTraceback ...")
        toolkit.info("Failure file exists. Skipping creation....")
        toolkit.error("Reporting training FAILURE")
    assert [record.getMessage() for record in caplog.records if record.name == toolkit.name] == [
        "Reporting training FAILURE"
    ]
