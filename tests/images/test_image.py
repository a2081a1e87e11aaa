"""What the images are made of."""

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
"""Which images these are: `make test/images VARIANT=gpu` has those for GPUs."""
MXNET = {"cpu": "mxnet", "gpu": "mxnet-cu112"}[VARIANT]
ALL = pytest.mark.parametrize("name", IMAGES)

Image = Callable[[str], str]


@ALL
def test_platform_passes_train_or_serve_to_programs_on_path_with_no_entrypoint_between(image: Image, name: str) -> None:
    config = inspect(image(name))["Config"]
    assert config["Entrypoint"] is None
    assert config["Cmd"] == (["serve"] if name == "inference" else ["train"])
    programs = ["serve"] if name == "inference" else ["train", "serve"]
    assert output(image(name), "which", *programs).split() == [f"/opt/program/bin/{program}" for program in programs]


@ALL
def test_the_programs_take_their_arguments_from_docker_run(image: Image, name: str) -> None:
    for program in ["serve"] if name == "inference" else ["train", "serve"]:
        assert output(image(name), program, "--help").startswith(f"usage: {program}")
        with Container(image(name), program, "--port=80") as container:
            assert container.wait(30) == 2
            assert f"{program}: error: '--port=80' is not an argument of {program}" in container.log()


@ALL
def test_labels_say_what_is_inside_and_what_the_platform_may_ask_for(image: Image, name: str) -> None:
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
    assert built_of == head.stdout.strip(), f"{image(name)} is of another commit: run `make build/{name}`"
    assert labels["org.opencontainers.image.created"][:2] == "20"


@ALL
def test_an_image_names_no_user_exposes_8080_alone_and_switches_off_onnx_runtimes_reports(
    image: Image, name: str
) -> None:
    config = inspect(image(name))["Config"]
    assert (config["User"], set(config["ExposedPorts"])) == ("", {"8080/tcp"})
    assert "ORT_DISABLE_TELEMETRY=1" in config["Env"]


@ALL
def test_code_and_environments_belong_to_root_and_no_other_user_can_write_to_them(image: Image, name: str) -> None:
    code = ["/opt", "!", "-type", "l", "(", "!", "-user", "root", "-o", "-perm", "/022", ")"]
    assert output(image(name), "find", *code) == ""


@ALL
def test_no_compiler_is_left_and_everyone_may_read_everything(image: Image, name: str) -> None:
    script = "for program in cc gcc g++ as ld make uv; do command -v $program; done; find /opt ! -type l ! -perm -o=r"
    assert output(image(name), "bash", "-c", script + "; find /opt -type d ! -perm -o=x") == ""


@ALL
def test_only_known_packages_and_ours_lie_under_opt_and_nothing_under_opt_ml(image: Image, name: str) -> None:
    known = {"program", "serve"} if name == "inference" else {"program", "serve", "train", "pretrained"}
    assert set(output(image(name), "ls", "/opt").split()) == known
    ours = {"bin", "serve"} if name == "inference" else {"bin", "serve", "train"}
    assert set(output(image(name), "ls", "/opt/program").split()) == ours


@ALL
def test_build_leaves_nothing_in_home_cache_and_temporary_folders(image: Image, name: str) -> None:
    places = ["/root", "/home", "/tmp", "/var/tmp", "/var/cache", "/var/lib/apt/lists"]
    assert output(image(name), "find", *places, "-type", "f", "-newer", "/opt/serve/pyvenv.cfg") == ""


@pytest.mark.parametrize(("name", "package", "version"), [(TRAINING, MXNET, "1.9.1"), (TENSORFLOW, "keras", "3.")])
def test_drivers_of_sdk_v3_find_bash_python3_and_pip_of_the_training_environment(
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
def test_environment_holds_exactly_what_its_lock_file_names(
    image: Image, name: str, environment: str, lock: Path
) -> None:
    pins = {line.split(" ")[0] for line in lock.read_text().splitlines() if "==" in line and line[0].isalnum()}
    code = (
        "import importlib.metadata as m, json\nprint(json.dumps([f'{d.name}=={d.version}' for d in m.distributions()]))"
    )
    listed = json.loads(output(image(name), f"/opt/{environment}/bin/python", "-c", code))
    assert {_normal(pin) for pin in listed} == {_normal(pin) for pin in pins}


@pytest.mark.parametrize("other", OTHERS)
def test_the_mxnet_images_share_every_layer(image: Image, other: str) -> None:
    layers = {name: inspect(image(name))["RootFS"]["Layers"] for name in (TRAINING, other)}
    assert layers[other] == layers[TRAINING]


def test_inference_adds_at_most_170_mb_to_its_base(image: Image) -> None:
    assert own_layers(image("inference"), "COPY /opt/serve") <= 170e6


def test_the_tensorflow_image_adds_less_than_1600_mb_to_its_base_and_with_cuda_4900(image: Image) -> None:
    assert own_layers(image(TENSORFLOW), "COPY /opt/train") < {"cpu": 1.6e9, "gpu": 4.9e9}[VARIANT]


def test_the_mxnet_images_add_less_than_950_mb_to_their_base_and_with_cuda_4600(image: Image) -> None:
    assert own_layers(image(TRAINING), "apt-get install") < {"cpu": 0.95e9, "gpu": 4.6e9}[VARIANT]


@ALL
def test_no_package_brings_its_own_tests_or_what_only_a_compiler_reads(image: Image, name: str) -> None:
    found = output(
        image(name), "find", "/opt", "-path", "*/site-packages/*",
        "(", "-type", "d", "-name", "tests", "-o", "-name", "*.[ah]", "-o", "-name", "*.pyi",
        "-o", "-path", "*/onnx/backend/test", ")",
    )  # fmt: skip
    assert found == ""


@ALL
def test_what_is_compiled_has_its_source_beside_it(image: Image, name: str) -> None:
    script = (
        "find /opt -name '*.pyc' | while read -r file; do folder=${file%/__pycache__/*}; module=${file##*/}; "
        "test -e $folder/${module%%.*}.py || echo $file; done"
    )
    assert output(image(name), "bash", "-c", script) == ""


def test_weights_given_to_a_build_lie_in_opt_pretrained_of_that_image_alone(image: Image, tmp_path: Path) -> None:
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
