"""Script mode through the real `train`: how a script that fails, or that cannot be run, ends the job."""

import json
from pathlib import Path

import pytest

from tests import jobs, scripts


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
    done = scripts.run(base, environ={"VISION_ALGORITHM": "image-classification"})
    assert done.code == 2
    assert done.failure.startswith("ClientError: hyperparameter sagemaker_program='train.py' asks to run a script")
    assert "only image-classification-tensorflow does" in done.failure
