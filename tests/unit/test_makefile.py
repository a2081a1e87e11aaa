"""The Makefile: what it checks before it does any work, and what it requires of a machine."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.images import IMAGES
from tests.environments import REPOSITORY

TARGETS = [
    "demo",
    "demo/NAME",
    "lint",
    "fmt",
    "build",
    "build/NAME",
    "push",
    "push/NAME",
    "sbom",
    "data",
    "train/NAME",
    "serve",
    "local/NAME",
    "bench",
    "envs",
    "lock",
    "clean",
    "clean/models",
    "test",
    "test/quick",
    *(f"test/{name}" for name in ("unit", "mxnet", "tensorflow", "serve", "demo", "images", "local-mode", "sdk2")),
    "soak/serving",
    "soak/training",
]
ENVIRONMENTS = {
    **{image.environment: f"containers/{image.stack}/requirements.txt" for image in IMAGES.values()},
    **{name: f"local/requirements/{name}.txt" for name in ("dev", "sdk2", "tests")},
    "uv": "containers/uv.txt",
}
"""The lock file of each environment."""


def make(*arguments: str, path: Path | None = None, folder: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """Run `make ARGUMENTS` without the variables of an outer `make`. Programs in `path` come first on PATH."""
    hidden = (
        "MAKE",
        "MFLAGS",
        "REGISTRY",
        "TAG",
        "VARIANT",
        "DATA",
        "EPOCHS",
        "PRETRAINED",
        "BASE_DIR",
        "PORT",
        "ARGS",
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    if path:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A folder with every file that the Makefile reads, and without environments."""
    clone = tmp_path / "clone"
    for file in ("Makefile", "containers/images.txt", *ENVIRONMENTS.values()):
        (clone / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, clone / file)
    return clone


def test_help_is_the_default_and_lists_every_target() -> None:
    done = make()
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert done.returncode == 0
    assert set(TARGETS) <= listed
    assert done.stdout == make("help").stdout


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("build/resnet", "no image is named resnet"),
        ("demo/inference", "inference only serves"),
        ("train/image-classification", "BASE_DIR is not set"),
        ("serve", "BASE_DIR is not set"),
    ],
)
def test_a_target_that_cannot_run_gives_the_reason_and_exits_with_2(target: str, message: str) -> None:
    done = make("--silent", target)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.fixture
def no_docker(tmp_path: Path) -> Iterator[Path]:
    """A folder whose `docker` only records its arguments. The test fails if it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program(folder, "docker", f'echo "$@" >> {tmp_path}/calls')
    yield folder
    assert not (tmp_path / "calls").exists(), (tmp_path / "calls").read_text()


@pytest.mark.parametrize("goals", [("push",), ("push/inference",), ("build", "push")])
@pytest.mark.parametrize("registry", [(), ("REGISTRY=",), ("REGISTRY=sagemaker-vision",)])
def test_push_without_a_registry_fails_before_anything_is_built_or_pushed(
    no_docker: Path, goals: tuple[str, ...], registry: tuple[str, ...]
) -> None:
    done = make(*goals, *registry, path=no_docker)
    assert (done.returncode, done.stdout) == (2, "")
    message = f"REGISTRY is not set; run: make {' '.join(goals)} REGISTRY=ACCOUNT.dkr.ecr.REGION.amazonaws.com"
    assert message in done.stderr


@pytest.mark.parametrize(
    "registry", ["ACCOUNT.dkr.ecr.REGION.amazonaws.com", "123456789012.dkr.ecr.REGION.amazonaws.com"]
)
def test_the_placeholder_registry_of_the_docs_is_rejected_before_anything_is_built(
    no_docker: Path, registry: str
) -> None:
    done = make("build", "push", f"REGISTRY={registry}", path=no_docker)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"REGISTRY={registry} is a placeholder: replace ACCOUNT with your 12-digit account number" in done.stderr


@pytest.mark.parametrize(("goal", "names"), [("push", " ".join(IMAGES)), ("push/inference", "inference")])
@pytest.mark.parametrize(("variables", "variant"), [((), "cpu"), (("VARIANT=gpu",), "gpu")])
def test_push_passes_images_registry_tag_and_variant_to_the_command(
    goal: str, names: str, variables: tuple[str, ...], variant: str
) -> None:
    done = make("--dry-run", goal, "REGISTRY=registry.example:5000/vision", "TAG=1.2", *variables)
    assert done.returncode == 0
    command = f".venvs/dev/bin/python -m local push {names} --registry 'registry.example:5000/vision' --tag '1.2'"
    assert done.stdout.splitlines()[-1] == f"{command} --variant '{variant}'"


def test_gpu_images_have_the_same_names_in_build_and_local_mode() -> None:
    built = make("--dry-run", "build", "VARIANT=gpu").stdout.split()
    assert built.count("'gpu'") == built.count("build") == len(IMAGES)
    command = last_command("local/object-detection", "VARIANT=gpu")
    assert command[command.index("--image") + 1] == "sagemaker-vision/object-detection:dev-gpu"


def test_an_unknown_variant_is_rejected_before_anything_is_built(no_docker: Path) -> None:
    done = make("build", "VARIANT=gpus", path=no_docker)
    assert (done.returncode, done.stdout) == (2, "")
    assert "VARIANT is gpus; it must be cpu, or gpu for the images that train with CUDA" in done.stderr


def test_push_runs_after_build_in_the_same_call() -> None:
    lines = make("--dry-run", "--jobs=4", "push", "build", "REGISTRY=registry.example").stdout.splitlines()
    (pushed,) = (number for number, line in enumerate(lines) if " -m local push " in line)
    built = [number for number, line in enumerate(lines) if " -m local build " in line]
    assert len(built) == len(IMAGES)
    assert max(built) < pushed


@pytest.mark.parametrize("goal", ["build", "build/image-classification", "local/image-classification"])
@pytest.mark.parametrize("kind", ["missing", "empty", "no weights", "only in a subfolder"])
def test_pretrained_weights_are_checked_before_the_image_is_built(
    no_docker: Path, tmp_path: Path, goal: str, kind: str
) -> None:
    folder = tmp_path / "my weights"
    if kind != "missing":
        folder.mkdir()
    if kind == "no weights":
        (folder / "resnet18.pth").write_bytes(b"weights")
    if kind == "only in a subfolder":
        (folder / "more").mkdir()
        (folder / "more" / "resnet18.params").write_bytes(b"weights")
    done = make(goal, f"PRETRAINED={folder}", path=no_docker)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"PRETRAINED={folder} " in done.stderr
    message = "does not exist" if kind == "missing" else "has no .safetensors, .params, .h5 or .keras file"
    assert message in done.stderr


# Folder names with spaces, quotes, commas, and characters that a shell or a glob would expand.
ODD = ["my folder", "  two  spaces", 'Ann\'s "pets"', "a;b,(c)&[d]*"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("file", ["resnet18.safetensors", "resnet18_v1b.params"])
def test_a_folder_with_weights_is_passed_to_the_build(tmp_path: Path, file: str, name: str) -> None:
    program(tmp_path, "docker", f'echo "$@" >> {tmp_path}/calls')
    weights = tmp_path / name
    weights.mkdir()
    (weights / file).write_bytes(b"weights")
    done = make("build/inference", f"PRETRAINED={weights}", path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"--build-context pretrained={weights}" in (tmp_path / "calls").read_text()


def test_a_build_is_quiet_unless_it_fails_and_then_prints_dockers_output(tmp_path: Path) -> None:
    program(tmp_path, "docker", "echo step 1; echo no base image >&2; exit 1")
    done = make("build/inference", path=tmp_path)
    assert done.returncode == 2
    assert done.stdout.count("\n") == 1
    assert "step 1\nno base image\n" in done.stderr


def last_command(*arguments: str) -> list[str]:
    """Return the words of the last command that `make ARGUMENTS` would run, split as a shell splits them."""
    done = make("--dry-run", *arguments)
    assert done.returncode == 0, done.stderr
    return shlex.split(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("goal", ["demo/object-detection", "local/image-classification", "bench"])
def test_a_data_set_in_a_folder_of_any_name_is_passed_to_the_command(tmp_path: Path, goal: str, name: str) -> None:
    folder = tmp_path / name
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for list_name in ("trainval.txt", "test.txt"):
        (folder / "annotations" / list_name).touch()
    command = last_command(goal, f"DATA={folder}")
    assert command[command.index("--data") + 1] == str(folder)


def run_last_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run only the last command that `make ARGUMENTS` would run."""
    return subprocess.run(
        last_command(*arguments), cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("goal", ["demo", "local/object-detection"])
def test_the_layout_is_passed_to_the_command(goal: str) -> None:
    command = last_command(goal, "DATA=my photos", "LAYOUT=class-folders")
    assert command[command.index("--layout") + 1] == "class-folders"


@pytest.mark.parametrize(
    ("goal", "empty", "images_alone"),
    [
        ("demo", " is empty", " is empty"),
        ("demo/object-detection", " is empty", " is empty"),
        ("demo/semantic-segmentation", " is empty", " is empty"),
        ("bench", "/images does not exist", "/annotations/trainval.txt does not exist"),
    ],
)
def test_missing_data_is_reported_before_anything_is_done(
    tmp_path: Path, goal: str, empty: str, images_alone: str
) -> None:
    folder = tmp_path / "my pets"
    for created, message in (("my pets", empty), ("my pets/images", images_alone)):
        (tmp_path / created).mkdir()
        done = run_last_command(goal, f"DATA={folder}")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{folder}{message}" in done.stderr


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("DATA=no/folder", "no/folder is not a folder: give the folder of the data set"),
        ("EPOCHS=2.5", "argument --epochs: '2.5' is not a number of epochs: use a whole number of 1 or more"),
        ("EPOCHS=1 2", "argument --epochs: '1 2' is not a number of epochs: use a whole number of 1 or more"),
        ("PORT=65536", "argument --port: '65536' is not a port: give a number from 1 to 65535"),
    ],
)
def test_local_mode_checks_its_arguments_before_an_image_is_built(no_docker: Path, argument: str, message: str) -> None:
    done = make("local/image-classification", argument, path=no_docker)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_local_mode_builds_its_images_after_the_check_and_before_it_starts() -> None:
    lines = make("--dry-run", "local/image-classification").stdout.splitlines()
    check, *builds, run = (line for line in lines if " -m local" in line)
    assert check == f"{run} --check"
    assert [line.split()[4] for line in builds] == ["inference", "image-classification"]


@pytest.mark.parametrize("epochs", ["abc", "0", "-1"])
def test_the_demo_rejects_epochs_that_are_not_a_whole_number(epochs: str) -> None:
    done = run_last_command("demo", f"EPOCHS={epochs}")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"argument --epochs: '{epochs}' is not a number of epochs: use a whole number of 1 or more" in done.stderr


def test_the_port_of_local_mode_is_passed_to_the_command() -> None:
    command = last_command("local/image-classification", "PORT=8099")
    assert command[command.index("--port") + 1] == "8099"


def test_the_port_of_serve_is_passed_to_the_server_unchanged(tmp_path: Path) -> None:
    assert "SAGEMAKER_BIND_TO_PORT=80 80" in last_command("serve", f"BASE_DIR={tmp_path}", "PORT=80 80")


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("goal", ["train/image-classification", "train/image-classification-tensorflow", "serve"])
def test_a_base_dir_of_any_name_is_passed_to_the_program(tmp_path: Path, goal: str, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    relative = os.path.relpath(folder, REPOSITORY)
    for base_dir in (str(folder), relative):
        command = last_command(goal, f"BASE_DIR={base_dir}")
        assert f"SAGEMAKER_BASE_DIR={folder}" in command


@pytest.mark.parametrize("goal", ["train/object-detection", "serve"])
def test_a_missing_base_dir_is_an_error_and_is_not_created(tmp_path: Path, goal: str) -> None:
    (tmp_path / "file").touch()
    for name in ("my dri", "file"):
        done = make(goal, f"BASE_DIR={tmp_path / name}")
        assert (done.returncode, done.stdout) == (2, "")
        assert f"BASE_DIR={tmp_path / name} is not a folder; use one shaped like /opt/ml" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_unknown_variables_give_a_warning_with_the_closest_name() -> None:
    done = make("help", "data=/foo", "EPOCH=2", "COLOUR=a b=c", "DATA=x", "LOCKFLAGS=--upgrade")
    assert done.returncode == 0
    assert [line.partition("warning: ")[2] for line in sorted(done.stderr.splitlines())] == [
        "COLOUR is not a variable in `make help` and has no effect",
        "EPOCH is not a variable in `make help` and has no effect; did you mean EPOCHS?",
        "data is not a variable in `make help` and has no effect; did you mean DATA?",
    ]


def test_every_variable_in_the_help_and_the_docs_is_known() -> None:
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    commands = re.findall(r"\bmake [a-z][\w/ -]*(?: [A-Z]+=\S+)+", text) + make("help").stdout.splitlines()[1:-3]
    named = {name for command in commands for name in re.findall(r"\b([A-Z][A-Z_]+)=", command)}
    assert {"DATA", "INSTANCES", "QUANTIZE"} <= named
    assert make("help", *(f"{name}=" for name in sorted(named - {"VARIANT"}))).stderr == ""


def test_a_new_image_needs_only_a_line_in_images_txt(fresh: Path) -> None:
    with (fresh / "containers" / "images.txt").open("a") as file:
        file.write("pose-estimation  tensorflow  tensorflow\n")
    assert "NAME is an image: " + " ".join([*IMAGES, "pose-estimation"]) in make("help", folder=fresh).stdout
    built = make("--dry-run", "build/pose-estimation", folder=fresh).stdout
    assert [line.split()[4] for line in built.splitlines() if "local build" in line] == ["inference", "pose-estimation"]
    trained = make("--dry-run", "train/pose-estimation", "BASE_DIR=.", folder=fresh).stdout.splitlines()[-1]
    assert trained.startswith("VISION_ALGORITHM=pose-estimation ")
    assert trained.endswith(" .venvs/tensorflow/bin/python -m train")


def stamp(folder: Path, environment: str) -> None:
    """Mark an environment as built, so that `make` does not rebuild it."""
    lock = hashlib.sha256((folder / ENVIRONMENTS[environment]).read_bytes()).hexdigest()
    (folder / ".venvs" / environment).mkdir(parents=True)
    (folder / ".venvs" / environment / f".lock-{lock}").touch()


def test_environments_are_rebuilt_only_if_their_lock_file_changes(fresh: Path) -> None:
    for name in ENVIRONMENTS:
        stamp(fresh, name)
    assert make("-n", "envs", folder=fresh).stdout == "make: Nothing to be done for 'envs'.\n"
    with (fresh / ENVIRONMENTS["serve"]).open("a") as file:
        file.write("# another version\n")
    commands = make("-n", "envs", folder=fresh).stdout
    assert {name for name in ENVIRONMENTS if f"rm -rf .venvs/{name}" in commands} == {"serve"}


def test_missing_packages_are_reported_before_an_environment_is_made(fresh: Path) -> None:
    (fresh / ".ci").mkdir()
    program(fresh / ".ci", "machine", "echo 'Missing packages: gcc.' >&2; exit 2")
    done = make("envs", folder=fresh)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Missing packages: gcc.\n")
    assert not (fresh / ".venvs").exists()


@pytest.mark.parametrize(
    ("goal", "environment", "folder"),
    [
        *((f"test/{name}", name, f"tests/{name}") for name in ("mxnet", "tensorflow", "serve", "sdk2")),
        *((f"test/{name}", "dev", f"tests/{name}") for name in ("unit", "images", "demo")),
        ("test/local-mode", "dev", "tests/local_mode"),
        ("soak/serving", "serve", "tests/serve/test_fuzz.py"),
        ("soak/training", "tensorflow", "tests/tensorflow/test_interrupted.py"),
    ],
)
def test_tests_run_in_the_environment_that_their_folder_is_named_after(
    goal: str, environment: str, folder: str
) -> None:
    command = last_command(goal)
    assert f".venvs/{environment}/bin/python" in command
    assert command[-1] == folder


@pytest.mark.parametrize(
    ("goal", "needed"),
    [
        ("test/unit", {"uv", "dev", "tests"}),
        ("test/serve", {"uv", "dev", "tests", "serve", "mxnet"}),
        ("test/quick", {"uv", "dev", "tests", "serve", "mxnet"}),
        ("test/mxnet", {"uv", "dev", "tests", "mxnet", "serve"}),
        ("test/tensorflow", {"uv", "dev", "tests", "tensorflow", "serve"}),
    ],
)
def test_tests_make_the_environments_that_they_need_and_no_others(fresh: Path, goal: str, needed: set[str]) -> None:
    product = fresh / "tests" / "products" / "thing.py"
    product.parent.mkdir(parents=True)
    product.write_text('ENVIRONMENT = "mxnet"\n')
    commands = make("-n", goal, folder=fresh).stdout
    assert {name for name in ENVIRONMENTS if f"rm -rf .venvs/{name}" in commands} == needed


@pytest.mark.parametrize("goal", ["test", "test/quick"])
def test_options_for_pytest_are_passed_as_one_word(goal: str) -> None:
    shown = make("--dry-run", goal, "ARGS=-k 'a or b' -x").stdout
    assert "--pass=-k 'a or b' -x" in shlex.split(shown)


def test_products_for_tests_are_rebuilt_if_the_code_changes(fresh: Path) -> None:
    for name in ENVIRONMENTS:
        stamp(fresh, name)
    sources = ("train/log.py", "serve/user_model/convert.py", "tests/products/thing.py")
    for file in sources:
        (fresh / file).parent.mkdir(parents=True, exist_ok=True)
        (fresh / file).write_text('ENVIRONMENT = "mxnet"\n')
    command = ".venvs/mxnet/bin/python -m tests.products thing\n"
    assert make("-n", "test/serve", folder=fresh).stdout.startswith(command)
    marker = fresh / ".tests" / "products" / "thing" / ".made"
    marker.parent.mkdir(parents=True)
    marker.touch()
    assert "tests.products" not in make("-n", "test/serve", folder=fresh).stdout
    for file in sources:
        assert make("-n", "test/serve", f"--what-if={file}", folder=fresh).stdout.startswith(command), file


GENERATED = [
    ".venvs/dev/bin/python",
    "sbom/inference.cdx.json",
    ".tests/products/serving/.made",
    ".mypy_cache/x",
    ".pytest_cache/x",
    ".ruff_cache/x",
    ".hypothesis/x",
    "local/__pycache__/x.pyc",
]
MODELS = [".local/image-classification/model.tar.gz", ".demo/object-detection/opt/ml/model/model.onnx"]
USER_FILES = ["data/images/a.jpg", "channels/train/a.jpg", "local/train.py"]


@pytest.mark.parametrize(("goal", "removed"), [("clean", GENERATED), ("clean/models", MODELS)])
def test_clean_keeps_trained_models_and_clean_models_removes_them(fresh: Path, goal: str, removed: list[str]) -> None:
    files = [*GENERATED, *MODELS, *USER_FILES]
    for file in files:
        (fresh / file).parent.mkdir(parents=True, exist_ok=True)
        (fresh / file).touch()
    done = make(goal, folder=fresh)
    assert done.returncode == 0, done.stderr
    assert [file for file in files if not (fresh / file).exists()] == removed


def machine(path: Path) -> subprocess.CompletedProcess[str]:
    bash = next(Path(folder, "bash") for folder in ("/bin", "/usr/bin") if Path(folder, "bash").exists())
    return subprocess.run(
        [bash, REPOSITORY / ".ci" / "machine"], env={"PATH": str(path)}, capture_output=True, text=True, check=False
    )


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with nothing on it but `id`."""
    program(tmp_path, "id", "echo 1000")
    return tmp_path


def test_a_machine_with_nothing_installed_gets_one_command_to_run(bare: Path) -> None:
    done = machine(bare)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Missing packages: git make gcc python3-venv python3-dev libgomp1. "
        "Run: sudo apt-get update && sudo apt-get install -y gcc git libgomp1 python3-dev python3-venv make\n"
    )


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_docs_install_the_packages_that_the_check_requires(page: str) -> None:
    packages = subprocess.run([REPOSITORY / ".ci" / "machine", "--packages"], capture_output=True, text=True).stdout
    line = f"    sudo apt-get update && sudo apt-get install -y {packages}"
    assert line in (REPOSITORY / page).read_text(encoding="utf-8")


def test_a_complete_machine_prints_its_python_3_11(bare: Path) -> None:
    for name in ("git", "make", "gcc"):
        program(bare, name, "exit 0")
    program(bare, "python3.11", f'exec {sys.executable} "$@"')
    done = machine(bare)
    assert (done.returncode, done.stderr) == (0, "")
    assert subprocess.run([done.stdout.strip(), "-V"], capture_output=True, text=True).stdout.startswith("Python 3.11.")


def test_a_machine_without_a_compiler_lacks_only_that(bare: Path) -> None:
    for name in ("git", "make"):
        program(bare, name, "exit 0")
    program(bare, "python3", f'exec {sys.executable} "$@"')
    done = machine(bare)
    assert done.returncode == 2
    assert done.stderr.startswith("Missing packages: gcc. Run: ")


def test_another_python_version_is_reported_with_the_required_one(bare: Path) -> None:
    program(bare, "python3", 'case "$2" in *platform*) echo 3.13.1;; *) exit 1;; esac')
    done = machine(bare)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Python 3.11 is required")
    assert "python3 is 3.13.1" in done.stderr
