"""Script mode with the real `train`: sources of a user's script, and its arguments and environment."""

import json
import tarfile
from pathlib import Path

import pytest

from tests import jobs, scripts
from tests.wheels import write_tiny

WITNESS = """
import json, os, sys
import neighbour
seen = {"arguments": sys.argv[1:], "folder": os.getcwd(), "variables": dict(os.environ), "neighbour": neighbour.NAME}
json.dump(seen, open(os.path.join(os.environ["SM_MODEL_DIR"], "seen.json"), "w"))
print("the script's own line")
"""
FILES = {"train.py": WITNESS, "neighbour.py": "NAME = 'found'\n"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job with a script that records its arguments and environment."""
    base = scripts.prepare(
        tmp_path_factory.mktemp("script"), FILES, epochs=3, learning_rate=0.001, name="two words; $HOME", flag=True
    )
    return scripts.run(base)


def test_a_script_runs_in_its_folder_and_the_job_exits_with_0(ran: jobs.Done) -> None:
    seen = scripts.written(ran.model.parent, "seen.json")
    assert (ran.code, ran.failure) == (0, "")
    assert "the script's own line" in ran.lines
    assert (seen["folder"], seen["neighbour"]) == (str(ran.model.parent / "code"), "found")


def test_hyperparameters_become_arguments_except_the_platforms(ran: jobs.Done) -> None:
    seen = scripts.written(ran.model.parent, "seen.json")
    expected = ["--epochs", "3", "--flag", "True", "--learning_rate", "0.001", "--name", "two words; $HOME"]
    assert seen["arguments"] == expected
    assert json.loads(seen["variables"]["SM_USER_ARGS"]) == expected


def test_the_toolkits_variables_are_set_and_our_code_is_not_importable(ran: jobs.Done) -> None:
    base, variables = ran.model.parent, scripts.written(ran.model.parent, "seen.json")["variables"]
    assert {name: variables[name] for name in ("SM_MODEL_DIR", "SM_CHANNEL_TRAINING", "SM_HP_EPOCHS")} == {
        "SM_MODEL_DIR": str(base / "model"),
        "SM_CHANNEL_TRAINING": str(base / "input" / "data" / "training"),
        "SM_HP_EPOCHS": "3",
    }
    assert (variables["SM_CURRENT_HOST"], variables["SM_HOSTS"]) == ("algo-1", '["algo-1"]')
    assert variables["PYTHONPATH"] == str(base / "code")
    assert "TF_CONFIG" not in variables


def test_a_host_name_that_dns_cannot_resolve_does_not_delay_the_script(ran: jobs.Done) -> None:
    assert "Script mode: running" in ran.log  # otherwise the toolkit would try to resolve algo-1 for 15 minutes


@pytest.mark.parametrize("form", ["tarball", "mounted", "environment"])
def test_a_script_can_be_in_a_tarball_or_a_mounted_folder_or_named_by_the_environment(
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
    assert (done.code, scripts.written(base, "seen.json")["neighbour"]) == (0, "found")


def test_a_shell_script_without_a_shebang_runs_with_quoted_arguments(tmp_path: Path) -> None:
    files = {"go.sh": 'printf "%s|" "$@" > "$SM_MODEL_DIR/seen.txt"\n'}
    done = scripts.run(scripts.prepare(tmp_path, files, "go.sh", name="two words; $HOME"))
    assert (done.code, (done.model / "seen.txt").read_text()) == (0, "--name|two words; $HOME|")


def test_tf_config_describes_the_cluster_for_the_multi_worker_strategy(tmp_path: Path) -> None:
    files = {"train.py": WITNESS.replace("import neighbour\n", "").replace("neighbour.NAME", "0")}
    base = scripts.prepare(tmp_path, files, sagemaker_multi_worker_mirrored_strategy_enabled=True)
    assert scripts.run(base).code == 0
    assert json.loads(scripts.written(base, "seen.json")["variables"]["TF_CONFIG"]) == {
        "cluster": {"worker": ["algo-1:8890"]},
        "task": {"type": "worker", "index": 0},
        "environment": "cloud",
    }


def test_requirements_are_installed_before_the_script_runs(tmp_path: Path) -> None:
    base = scripts.prepare(tmp_path, FILES)
    (base / "source" / "neighbour.py").write_text("from tiny import NAME\n")
    (base / "source" / "requirements.txt").write_text(write_tiny(base / "source"))
    # Install next to the script, where Python finds it too, because all tests share the environment.
    done = scripts.run(base, environ={"PIP_TARGET": str(base / "code")})
    assert (done.code, scripts.written(base, "seen.json")["neighbour"]) == (0, "installed")
