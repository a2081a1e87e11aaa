"""The contents and configuration of the images."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from local.images import IMAGES
from tests.environments import REPOSITORY
from tests.images.container import Container, inspect, output, own_layers

TRAINING, *OTHERS = (name for name, image in IMAGES.items() if image.stack == "mxnet")
BUILT_HERE = "sagemaker-vision-test"
TENSORFLOW = "image-classification-tensorflow"
VARIANT = os.environ.get("VARIANT", "cpu")
"""The images under test. `make test/images VARIANT=gpu` tests the GPU images."""
MXNET = {"cpu": "mxnet", "gpu": "mxnet-cu112"}[VARIANT]
ALL = pytest.mark.parametrize("name", IMAGES)

Image = Callable[[str], str]


@ALL
def test_train_and_serve_are_programs_on_path_and_there_is_no_entrypoint(image: Image, name: str) -> None:
    config = inspect(image(name))["Config"]
    assert config["Entrypoint"] is None
    assert config["Cmd"] == (["serve"] if name == "inference" else ["train"])
    programs = ["serve"] if name == "inference" else ["train", "serve"]
    assert output(image(name), "which", *programs).split() == [f"/opt/program/bin/{program}" for program in programs]


@ALL
def test_the_programs_get_the_arguments_of_docker_run(image: Image, name: str) -> None:
    for program in ["serve"] if name == "inference" else ["train", "serve"]:
        assert output(image(name), program, "--help").startswith(f"usage: {program}")
        with Container(image(name), program, "--port=80") as container:
            assert container.wait(30) == 2
            assert f"{program}: error: '--port=80' is not an argument of {program}" in container.log()


@ALL
def test_labels_describe_the_contents_and_capabilities(image: Image, name: str) -> None:
    labels = inspect(image(name))["Config"]["Labels"]
    assert labels["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert labels["com.amazonaws.sagemaker.capabilities.multi-models"] == "true"
    assert labels["org.opencontainers.image.title"] == name
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    version = output(
        image(name),
        "python3",
        "-c",
        "import sys; sys.path.insert(0, '/opt/program'); import serve; print(serve.__version__)",
    )
    assert labels["org.opencontainers.image.version"] == version.strip()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    built_of = labels["org.opencontainers.image.revision"].removesuffix("-dirty")
    assert built_of == head.stdout.strip(), f"{image(name)} was built from another commit: run `make build/{name}`"
    assert labels["org.opencontainers.image.created"][:2] == "20"


@ALL
def test_an_image_sets_no_user_exposes_only_8080_and_disables_onnx_runtimes_telemetry(image: Image, name: str) -> None:
    config = inspect(image(name))["Config"]
    assert (config["User"], set(config["ExposedPorts"])) == ("", {"8080/tcp"})
    assert "ORT_DISABLE_TELEMETRY=1" in config["Env"]


@ALL
def test_code_and_environments_belong_to_root_and_only_root_can_write_to_them(image: Image, name: str) -> None:
    code = ["/opt", "!", "-type", "l", "(", "!", "-user", "root", "-o", "-perm", "/022", ")"]
    assert output(image(name), "find", *code) == ""


@ALL
def test_there_is_no_compiler_and_everyone_can_read_all_files(image: Image, name: str) -> None:
    script = "for program in cc gcc g++ as ld make uv; do command -v $program; done; find /opt ! -type l ! -perm -o=r"
    assert output(image(name), "bash", "-c", script + "; find /opt -type d ! -perm -o=x") == ""


@ALL
def test_opt_holds_only_known_folders_and_no_ml(image: Image, name: str) -> None:
    known = {"program", "serve"} if name == "inference" else {"program", "serve", "train", "pretrained"}
    assert set(output(image(name), "ls", "/opt").split()) == known
    ours = {"bin", "serve"} if name == "inference" else {"bin", "serve", "train"}
    assert set(output(image(name), "ls", "/opt/program").split()) == ours


@ALL
def test_the_build_leaves_no_files_in_home_cache_and_temporary_folders(image: Image, name: str) -> None:
    places = ["/root", "/home", "/tmp", "/var/tmp", "/var/cache", "/var/lib/apt/lists"]
    assert output(image(name), "find", *places, "-type", "f", "-newer", "/opt/serve/pyvenv.cfg") == ""


@pytest.mark.parametrize(("name", "package", "version"), [(TRAINING, MXNET, "1.9.1"), (TENSORFLOW, "keras", "3.")])
def test_sdk_v3s_drivers_find_bash_and_the_training_environments_python3_and_pip(
    image: Image, name: str, package: str, version: str
) -> None:
    script = (
        "command -v python3 python pip pip3; python3 -m pip --version; "
        f"python3 -c 'import importlib.metadata as m; print(m.version(\"{package}\"))'"
    )
    lines = output(image(name), "bash", "-c", script, options=["--user=4321:4321", "--read-only"]).splitlines()
    assert lines[:4] == [f"/opt/train/bin/{program}" for program in ("python3", "python", "pip", "pip3")]
    assert "/opt/train/lib/python3.11/site-packages/pip" in lines[4]
    assert lines[5].startswith(version)


@pytest.mark.parametrize(
    ("name", "environment", "lock"),
    [
        *((name, "train", IMAGES[name].lock(VARIANT)) for name in (TRAINING, TENSORFLOW)),
        *((name, "serve", IMAGES["inference"].lock()) for name in (TRAINING, TENSORFLOW, "inference")),
    ],
)
def test_an_environment_holds_exactly_the_packages_of_its_lock_file(
    image: Image, name: str, environment: str, lock: Path
) -> None:
    pins = {line.split(" ")[0] for line in lock.read_text().splitlines() if "==" in line and line[0].isalnum()}
    code = (
        "import importlib.metadata as m, json\nprint(json.dumps([f'{d.name}=={d.version}' for d in m.distributions()]))"
    )
    listed = json.loads(output(image(name), f"/opt/{environment}/bin/python", "-c", code))
    assert {_normal(pin) for pin in listed} == {_normal(pin) for pin in pins}


@pytest.mark.parametrize("other", OTHERS)
def test_the_mxnet_images_share_all_layers(image: Image, other: str) -> None:
    layers = {name: inspect(image(name))["RootFS"]["Layers"] for name in (TRAINING, other)}
    assert layers[other] == layers[TRAINING]


def test_inference_adds_at_most_170_mb_to_its_base(image: Image) -> None:
    assert own_layers(image("inference"), "COPY /opt/serve") <= 170e6


def test_the_tensorflow_image_adds_less_than_1600_mb_to_its_base_and_with_cuda_4900(image: Image) -> None:
    assert own_layers(image(TENSORFLOW), "COPY /opt/train") < {"cpu": 1.6e9, "gpu": 4.9e9}[VARIANT]


def test_the_mxnet_images_add_less_than_950_mb_to_their_base_and_with_cuda_4600(image: Image) -> None:
    assert own_layers(image(TRAINING), "apt-get install") < {"cpu": 0.95e9, "gpu": 4.6e9}[VARIANT]


@ALL
def test_packages_contain_no_tests_and_no_files_for_compilers(image: Image, name: str) -> None:
    files = output(
        image(name), "find", "/opt", "-path", "*/site-packages/*",
        "(", "-type", "d", "-name", "tests", "-o", "-name", "*.[ah]", "-o", "-name", "*.pyi",
        "-o", "-path", "*/onnx/backend/test", ")",
    )  # fmt: skip
    assert files == ""


@ALL
def test_every_bytecode_file_has_its_source(image: Image, name: str) -> None:
    script = (
        "find /opt -name '*.pyc' | while read -r file; do folder=${file%/__pycache__/*}; module=${file##*/}; "
        "test -e $folder/${module%%.*}.py || echo $file; done"
    )
    assert output(image(name), "bash", "-c", script) == ""


def test_weights_passed_to_a_build_are_only_in_that_images_opt_pretrained(image: Image, tmp_path: Path) -> None:
    image(TRAINING)
    (tmp_path / "resnet18_v1b.params").write_bytes(b"weights")
    (tmp_path / "resnet18_v1b.params").chmod(0o600)
    with_weights, without = f"{os.getpid()}-with", f"{os.getpid()}-without"
    try:
        anyone = ["--user=4321:4321"]
        reference = build(with_weights, f"PRETRAINED={tmp_path}")
        assert output(reference, "cat", "/opt/pretrained/resnet18_v1b.params", options=anyone) == "weights"
        assert output(build(without), "ls", "/opt/pretrained", options=anyone) == "README\n"
    finally:
        built = [f"{BUILT_HERE}/{name}:{tag}" for tag in (with_weights, without) for name in (TRAINING, "inference")]
        subprocess.run(["docker", "rmi", *built], capture_output=True, check=False)


def build(tag: str, *variables: str) -> str:
    done = subprocess.run(
        ["make", f"build/{TRAINING}", f"REGISTRY={BUILT_HERE}", f"TAG={tag}", "VARIANT=cpu", *variables],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return f"{BUILT_HERE}/{TRAINING}:{tag}"


def _normal(pin: str) -> str:
    return pin.lower().replace("_", "-").replace(".", "-")
