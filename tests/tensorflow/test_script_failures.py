"""Script mode with the real `train`: scripts that fail or cannot be run."""

import json
from pathlib import Path

import pytest

from tests import jobs, scripts


def run(base: Path, text: str, **options: object) -> jobs.Done:
    """Run a job with the script `text`."""
    return scripts.run(scripts.prepare(base, {"train.py": text}, **options))


def test_a_scripts_error_is_the_first_line_of_the_failure_and_its_exit_code_is_passed_on(tmp_path: Path) -> None:
    done = run(tmp_path, "import sys\nprint('progress', file=sys.stderr)\nraise ValueError('no photos of dogs')\n")
    first, _, rest = done.failure.partition("\n\n")
    assert (done.code, first) == (1, "ValueError: no photos of dogs (train.py ended with exit code 1)")
    assert rest.startswith("progress\nTraceback")
    assert "Framework Error" not in done.log


def test_a_scripts_exit_code_is_passed_on_with_its_last_line_of_output(tmp_path: Path) -> None:
    done = run(tmp_path, "import sys\nsys.stderr.write('disk is full\\n')\nsys.exit(28)\n")
    assert (done.code, done.failure.splitlines()[0]) == (28, "disk is full (train.py ended with exit code 28)")


def test_unknown_arguments_are_reported_with_argparses_message(tmp_path: Path) -> None:
    done = run(tmp_path, "import argparse\nargparse.ArgumentParser().parse_args()\n", model_dir="s3://b/model")
    assert done.code == 2
    assert done.failure.startswith("train.py: error: unrecognized arguments: --model_dir s3://b/model (train.py ended")


def test_a_killed_script_exits_with_137_and_a_likely_reason(tmp_path: Path) -> None:
    done = run(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    assert done.code == 137
    assert done.failure.startswith("train.py was killed by SIGKILL: most likely the instance ran out of memory")


def test_a_failure_file_that_the_script_wrote_is_kept(tmp_path: Path) -> None:
    text = "open('../output/failure', 'w').write('my own reason')\nraise SystemExit(3)\n"
    done = run(tmp_path, text)
    assert (done.code, done.failure) == (3, "my own reason")


@pytest.mark.parametrize(
    ("program", "directory", "message"),
    [
        ("trian.py", None, "sagemaker_program='trian.py' is not a file in {base}/code, which contains train.py: set"),
        ("../train.py", None, "sagemaker_program='../train.py' cannot be run: The training entry point '../train.py'"),
        ("train.py", "/nowhere.tar.gz", "sagemaker_submit_directory=/nowhere.tar.gz cannot be fetched: [Errno 2]"),
    ],
)
def test_a_missing_script_is_named_with_exit_code_2(
    program: str, directory: str | None, message: str, tmp_path: Path
) -> None:
    base = scripts.prepare(tmp_path, {"train.py": ""}, program)
    if directory:
        values = {"sagemaker_program": program, "sagemaker_submit_directory": directory}
        (base / "input" / "config" / "hyperparameters.json").write_text(json.dumps(values))
    jobs.earlier_model(base)
    done = scripts.run(base)
    assert (done.code, done.texts()) == (2, jobs.EARLIER)
    assert message.format(base=base) in done.failure
    assert done.failure.startswith("ClientError: ")


def test_requirements_that_cannot_be_installed_give_exit_code_2_with_pips_error(tmp_path: Path) -> None:
    files = {"train.py": "raise SystemExit('must not run')", "requirements.txt": "no requirement at all\n"}
    done = scripts.run(scripts.prepare(tmp_path, files))
    assert done.code == 2
    assert done.failure.startswith(f"ClientError: {tmp_path}/code/requirements.txt cannot be installed: ")
    assert "no requirement at all" in done.failure.splitlines()[0]


def test_an_unsupported_distribution_is_rejected(tmp_path: Path) -> None:
    done = run(tmp_path, "", sagemaker_mpi_enabled=True)
    assert done.code == 2
    assert "hyperparameter sagemaker_mpi_enabled=true requests MPI, which this image does not support" in done.failure


def test_an_image_without_script_mode_rejects_a_script_and_names_the_right_image(tmp_path: Path) -> None:
    base = scripts.prepare(tmp_path, {"train.py": ""})
    done = scripts.run(base, environ={"VISION_ALGORITHM": "image-classification"})
    assert done.code == 2
    assert done.failure.startswith("ClientError: hyperparameter sagemaker_program='train.py' requests a script")
    assert "only image-classification-tensorflow does" in done.failure
