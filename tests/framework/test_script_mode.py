"""Script mode through the real `train` program: what a user's script is given, and what becomes of how it ends."""

import json
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import jobs, scripts
from tests.environments import REPOSITORY
from tests.framework import bodies_scripts
from tests.server import Server
from tests.wheels import write_tiny
from train import earlier

Run = Callable[..., Any]

WITNESS = """
import json, os, sys
import neighbour
told = {"arguments": sys.argv[1:], "folder": os.getcwd(), "variables": dict(os.environ), "neighbour": neighbour.NAME}
json.dump(told, open(os.path.join(os.environ["SM_MODEL_DIR"], "told.json"), "w"))
print("the script's own line")
"""
FILES = {"train.py": WITNESS, "neighbour.py": "NAME = 'found'\n"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job whose script writes down what it was given."""
    base = scripts.prepare(
        tmp_path_factory.mktemp("script"), FILES, epochs=3, learning_rate=0.001, name="two words; $HOME", flag=True
    )
    return scripts.run(base)


def test_a_script_runs_in_its_folder_and_ends_the_job_with_exit_code_0(ran: jobs.Done) -> None:
    told = scripts.written(ran.model.parent, "told.json")
    assert (ran.code, ran.failure) == (0, "")
    assert "the script's own line" in ran.lines
    assert (told["folder"], told["neighbour"]) == (str(ran.model.parent / "code"), "found")


def test_hyperparameters_become_arguments_without_the_platforms_own(ran: jobs.Done) -> None:
    told = scripts.written(ran.model.parent, "told.json")
    expected = ["--epochs", "3", "--flag", "True", "--learning_rate", "0.001", "--name", "two words; $HOME"]
    assert told["arguments"] == expected
    assert json.loads(told["variables"]["SM_USER_ARGS"]) == expected


def test_the_toolkits_variables_are_set_and_nothing_of_ours_can_be_imported_by_accident(ran: jobs.Done) -> None:
    base, variables = ran.model.parent, scripts.written(ran.model.parent, "told.json")["variables"]
    assert {name: variables[name] for name in ("SM_MODEL_DIR", "SM_CHANNEL_TRAINING", "SM_HP_EPOCHS")} == {
        "SM_MODEL_DIR": str(base / "model"),
        "SM_CHANNEL_TRAINING": str(base / "input" / "data" / "training"),
        "SM_HP_EPOCHS": "3",
    }
    assert (variables["SM_CURRENT_HOST"], variables["SM_HOSTS"]) == ("algo-1", '["algo-1"]')
    assert variables["PYTHONPATH"] == str(base / "code")
    assert "TF_CONFIG" not in variables


def test_a_host_whose_name_no_dns_knows_does_not_keep_the_script_waiting(ran: jobs.Done) -> None:
    assert "Script mode: running" in ran.log  # the job is over: the toolkit would look for algo-1 for 15 minutes


@pytest.mark.parametrize("form", ["tarball", "mounted", "environment"])
def test_a_script_comes_from_a_tarball_a_mounted_folder_or_a_program_named_by_the_environment(
    form: str, tmp_path: Path
) -> None:
    base, environ = scripts.prepare(tmp_path, FILES), {}
    source, config = base / "source", base / "input" / "config" / "hyperparameters.json"
    if form == "tarball":
        with tarfile.open(base / "sourcedir.tar.gz", "w:gz") as archive:
            for path in source.iterdir():
                archive.add(path, path.name)
        values = {"sagemaker_program": "train.py", "sagemaker_submit_directory": str(base / "sourcedir.tar.gz")}
    else:
        source.rename(base / "code")
        values = {"sagemaker_program": "train.py", "sagemaker_submit_directory": "s3://never/asked.tar.gz"}
        if form == "environment":
            values, environ = {}, {"SAGEMAKER_PROGRAM": "train.py"}
    config.write_text(json.dumps(values))
    done = scripts.run(base, environ=environ)
    assert (done.code, scripts.written(base, "told.json")["neighbour"]) == (0, "found")


def test_a_shell_script_without_a_first_line_runs_with_its_arguments_quoted(tmp_path: Path) -> None:
    files = {"go.sh": 'printf "%s|" "$@" > "$SM_MODEL_DIR/told.txt"\n'}
    done = scripts.run(scripts.prepare(tmp_path, files, "go.sh", name="two words; $HOME"))
    assert (done.code, (done.model / "told.txt").read_text()) == (0, "--name|two words; $HOME|")


def test_multi_worker_strategy_finds_its_cluster_in_tf_config(tmp_path: Path) -> None:
    files = {"train.py": WITNESS.replace("import neighbour\n", "").replace("neighbour.NAME", "0")}
    base = scripts.prepare(tmp_path, files, sagemaker_multi_worker_mirrored_strategy_enabled=True)
    assert scripts.run(base).code == 0
    assert json.loads(scripts.written(base, "told.json")["variables"]["TF_CONFIG"]) == {
        "cluster": {"worker": ["algo-1:8890"]},
        "task": {"type": "worker", "index": 0},
        "environment": "cloud",
    }


def test_requirements_are_installed_before_the_script_runs(tmp_path: Path) -> None:
    base = scripts.prepare(tmp_path, FILES)
    (base / "source" / "neighbour.py").write_text("from tiny import NAME\n")
    (base / "source" / "requirements.txt").write_text(write_tiny(base / "source"))
    # Beside the script, where it is found too: the environment is every test's.
    done = scripts.run(base, environ={"PIP_TARGET": str(base / "code")})
    assert (done.code, scripts.written(base, "told.json")["neighbour"]) == (0, "installed")


# ---- failing ----------------------------------------------------------------------------------------------------


def failed(base: Path, text: str, **options: object) -> jobs.Done:
    """How a job ended whose train.py is `text`."""
    return scripts.run(scripts.prepare(base, {"train.py": text}, **options))


def test_a_scripts_own_error_is_the_first_line_of_the_reason_and_its_exit_code_is_the_jobs(tmp_path: Path) -> None:
    done = failed(tmp_path, "import sys\nprint('progress', file=sys.stderr)\nraise ValueError('no photos of dogs')\n")
    first, _, rest = done.failure.partition("\n\n")
    assert (done.code, first) == (1, "ValueError: no photos of dogs (train.py ended with exit code 1)")
    assert rest.startswith("progress\nTraceback")
    assert "Framework Error" not in done.log


def test_an_exit_code_of_the_script_is_passed_on_with_its_last_words(tmp_path: Path) -> None:
    done = failed(tmp_path, "import sys\nsys.stderr.write('disk is full\\n')\nsys.exit(28)\n")
    assert (done.code, done.failure.splitlines()[0]) == (28, "disk is full (train.py ended with exit code 28)")


def test_unknown_arguments_are_told_in_argparses_words(tmp_path: Path) -> None:
    done = failed(tmp_path, "import argparse\nargparse.ArgumentParser().parse_args()\n", model_dir="s3://b/model")
    assert done.code == 2
    assert done.failure.startswith("train.py: error: unrecognized arguments: --model_dir s3://b/model (train.py ended")


def test_a_script_that_is_killed_ends_with_137_and_the_likely_reason(tmp_path: Path) -> None:
    done = failed(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert done.code == 137
    assert done.failure.startswith("train.py was ended by SIGKILL: most likely it took all of the instance's memory")


def test_a_failure_file_that_the_script_wrote_itself_is_kept(tmp_path: Path) -> None:
    text = "open('../output/failure', 'w').write('my own reason')\nraise SystemExit(3)\n"
    done = failed(tmp_path, text)
    assert (done.code, done.failure) == (3, "my own reason")


@pytest.mark.parametrize(
    ("program", "directory", "says"),
    [
        ("trian.py", None, "sagemaker_program='trian.py' names no file in {base}/code, which holds train.py: name"),
        ("../train.py", None, "sagemaker_program='../train.py' cannot be run: The training entry point '../train.py'"),
        ("train.py", "/nowhere.tar.gz", "sagemaker_submit_directory=/nowhere.tar.gz cannot be fetched: [Errno 2]"),
    ],
)
def test_a_script_that_is_not_there_exits_2_and_is_named(
    program: str, directory: str | None, says: str, tmp_path: Path
) -> None:
    base = scripts.prepare(tmp_path, {"train.py": ""}, program)
    if directory:
        values = {"sagemaker_program": program, "sagemaker_submit_directory": directory}
        (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(values))
    jobs.earlier_model(base)
    done = scripts.run(base)
    assert (done.code, done.left()) == (2, jobs.EARLIER)
    assert says.format(base=base) in done.failure
    assert done.failure.startswith("ClientError: ")


def test_requirements_that_cannot_be_installed_exit_2_with_pips_own_error(tmp_path: Path) -> None:
    files = {"train.py": "raise SystemExit('must not run')", "requirements.txt": "no requirement at all\n"}
    done = scripts.run(scripts.prepare(tmp_path, files))
    assert done.code == 2
    assert done.failure.startswith(f"ClientError: {tmp_path}/code/requirements.txt cannot be installed: ")
    assert "no requirement at all" in done.failure.splitlines()[0]


def test_distribution_that_this_image_does_not_start_is_refused(tmp_path: Path) -> None:
    done = failed(tmp_path, "", sagemaker_mpi_enabled=True)
    assert done.code == 2
    assert "hyperparameter sagemaker_mpi_enabled=true asks for MPI, which this image does not start" in done.failure


def test_an_image_without_script_mode_refuses_a_script_and_names_the_one_that_has_it(tmp_path: Path) -> None:
    base = scripts.prepare(tmp_path, {"train.py": ""})
    done = jobs.run(base)
    assert done.code == 2
    assert done.failure.startswith("ClientError: hyperparameter sagemaker_program='train.py' asks to run a script")
    assert "only image-classification-tensorflow does" in done.failure


# ---- stopping ---------------------------------------------------------------------------------------------------

SAVES_ON_STOP = """
import os, signal, sys
def save(number, frame):
    open(os.path.join(os.environ["SM_MODEL_DIR"], "saved"), "w").write("half way")
    sys.exit(CODE)
signal.signal(signal.SIGTERM, save)
print("waiting")
signal.pause()
"""


@pytest.mark.parametrize("code", [0, 4])
def test_sigterm_reaches_the_script_which_saves_and_decides_the_exit_code(code: int, tmp_path: Path) -> None:
    base = scripts.prepare(tmp_path, {"train.py": SAVES_ON_STOP.replace("CODE", str(code))})
    done = scripts.run(base, until="waiting")
    assert (done.code, (done.model / "saved").read_text()) == (code, "half way")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_script_that_dies_of_the_stop_request_was_stopped_and_not_failed(number: int, tmp_path: Path) -> None:
    files = {"train.py": "import signal\nprint('waiting')\nsignal.pause()\n"}
    done = scripts.run(scripts.prepare(tmp_path, files), until="waiting", number=number)
    assert (done.code, done.failure) == (0, "")
    assert f"Stopped; what the script has saved in {done.model} is kept" in done.log


def test_sigterm_reaches_what_a_shell_script_has_started(tmp_path: Path) -> None:
    files = {"train.py": SAVES_ON_STOP.replace("CODE", "0"), "go.sh": "#!/bin/sh\npython3 train.py\necho ended $?\n"}
    done = scripts.run(scripts.prepare(tmp_path, files, "go.sh"), until="waiting")
    assert (done.code, (done.model / "saved").read_text()) == (0, "half way")


# ---- what it leaves ---------------------------------------------------------------------------------------------


def class_folders(base: Path) -> Path:
    """The channel `training` as the seed project has it: train/ and validation/ with a folder for each class."""
    rng = np.random.default_rng(2)
    for part, count in (("train", 16), ("validation", 4)):
        for index in range(count):
            folder = base / "input" / "data" / "training" / part / ("cat", "dog")[index % 2]
            folder.mkdir(parents=True, exist_ok=True)
            jobs.stripes(index % 2, rng).save(folder / f"{index}.jpg")
    return base


def answer(base: Path, image: np.ndarray) -> tuple[Any, list[str]]:
    """What the real `serve` says to an image sent as JSON, and its log."""
    with Server(base, TMPDIR=str(base)) as server:
        server.wait_for("/ping answers 200", 600)
        status, _, body = server.ask("POST", "/invocations", json.dumps(image.tolist()).encode())
        assert status == 200, body
        return json.loads(body), server.log()


@pytest.mark.parametrize(("name", "legacy"), [("keras3", "0"), ("keras2", "1")])
def test_a_script_in_the_seeds_shape_trains_and_its_model_answers_converted_by_train_or_by_serve(
    name: str, legacy: str, tmp_path: Path
) -> None:
    text = (REPOSITORY / "tests" / "fixtures" / "scripts" / name / "train.py").read_text()
    base = scripts.prepare(class_folders(tmp_path), {"train.py": text}, epochs=1, batch_size=8, alpha=0.35)
    done = scripts.run(base, environ={"TF_USE_LEGACY_KERAS": legacy}, seconds=600)
    assert (done.code, done.failure) == (0, "")
    assert "model/1 is converted: 2 checks, largest difference from TensorFlow" in done.log
    assert {"1/saved_model.pb", "model.json", "model.onnx"} <= set(scripts.names(done.model))
    image = np.random.default_rng(1).random((1, 128, 128, 3)).round(3)
    by_train, log = answer(base, image)
    ((probability,),) = by_train["predictions"]
    assert 0 < probability < 1
    assert not [line for line in log if "being converted" in line]
    for file in ("model.json", "model.onnx"):  # as SDK v3's driver leaves it
        (done.model / file).unlink()
    by_serve, log = answer(base, image)
    assert [line for line in log if "model/1 is being converted for ONNX Runtime" in line]
    assert by_serve == {"predictions": [[pytest.approx(probability, abs=1e-5)]]}


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (bodies_scripts.make_text_model, ""),
        (bodies_scripts.make_model_of_chance, "keep augmentation out of the model that is exported"),
    ],
    ids=["text", "chance"],
)
def test_a_model_that_has_no_graph_is_kept_as_it_is_and_the_job_succeeds(
    in_tensorflow: Run, tmp_path: Path, make: Callable[[str], None], hint: str
) -> None:
    in_tensorflow(make, tmp_path / "source" / "made")
    text = "import os, shutil\nshutil.copytree('made', os.path.join(os.environ['SM_MODEL_DIR'], '1'))\n"
    done = scripts.run(scripts.prepare(tmp_path, {"train.py": text}), seconds=600)
    assert (done.code, done.failure) == (0, "")
    assert "the model is kept as the script has left it, and not for ONNX Runtime too: signature" in done.log
    assert hint in done.log
    assert "model.onnx" not in scripts.names(done.model)


def test_handlers_that_serve_will_refuse_are_warned_of_when_the_job_ends(tmp_path: Path) -> None:
    text = "import os\nfor name in ('1/saved_model.pb', 'code/inference.py'):\n"
    text += "    os.makedirs(os.path.dirname('../model/' + name))\n    open('../model/' + name, 'w').close()\n"
    done = scripts.run(scripts.prepare(tmp_path, {"train.py": text}))
    assert (done.code, done.failure) == (0, "")
    assert f"{done.model}/code/inference.py would not be run: this image has no support for handlers yet." in done.log
    assert scripts.names(done.model) == ["1/saved_model.pb", "code/inference.py"]


def test_a_script_that_leaves_nothing_is_warned_of_and_no_earlier_model_is_served_as_its_own(tmp_path: Path) -> None:
    jobs.earlier_model(tmp_path)
    done = failed(tmp_path, "")
    assert (done.code, done.left(), done.left(earlier.ASIDE)) == (0, {}, jobs.EARLIER)
    assert f"the script has left nothing in {done.model} (SM_MODEL_DIR)" in done.log


def test_sigterm_during_the_conversion_keeps_what_the_script_has_left(tmp_path: Path) -> None:
    text = "import os\nos.makedirs('../model/1')\nopen('../model/1/saved_model.pb', 'w').close()\n"
    done = scripts.run(scripts.prepare(tmp_path, {"train.py": text}), until="converting model/1 for ONNX Runtime")
    assert (done.code, scripts.names(done.model)) == (0, ["1/saved_model.pb"])
    assert f"Stopped; what the script has saved in {done.model} is kept" in done.log
