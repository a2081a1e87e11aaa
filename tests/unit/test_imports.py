"""Which modules may import what. Imports inside functions and for type checkers count, too."""

import ast
import functools
import graphlib
import importlib
import re
import sys
from pathlib import Path

import pytest

from local.images import IMAGES, TRAINING
from tests.environments import REPOSITORY

OURS = ("train", "serve", "local", "benchmarks", "tests")

MXNET, KERAS = (
    [f"train.{name.replace('-', '_')}" for name in TRAINING if IMAGES[name].stack == stack]
    for stack in ("mxnet", "tensorflow")
)
_CONVERT = "serve.user_model.convert"
TENSORFLOW = {_CONVERT, "serve.user_model.saved_model", "serve.user_model.scaling"}
QUANTIZER = {"train.quantization.quantizer", "train.quantization.sensitivity"}
# The packages and modules that import each third-party package. The lists are complete; "" allows every module.
THIRD_PARTY = {
    "mxnet": {*MXNET, "train.gluon", "train.gpu_check.gluon", "train.weights"},
    "gluoncv": {*MXNET, "train.gluon"},
    "cv2": {*MXNET, "train.data.pixels"},
    "tensorflow": {"train.gpu_check.keras", "train.keras", *TENSORFLOW},
    "keras": {*KERAS, "train.keras", _CONVERT, "train.weights.keras_files"},
    "tf_keras": {_CONVERT},
    "tf2onnx": {"train.keras", _CONVERT},
    "h5py": {"train.weights.keras_files"},
    "onnx": {"train.keras", _CONVERT, "train.gluon", "train.graph", *QUANTIZER},
    "onnxruntime": {"serve.engine.runtime", *QUANTIZER},
    "flask": {"serve.http.application", "serve.http.gunicorn_conf", "serve.http.multi_model"},
    "werkzeug": {"serve.http.application", "serve.http.headers"},
    "prometheus_client": {"serve.telemetry.instruments", "serve.telemetry.shared"},
    "gunicorn": {"serve.http", "serve.__main__"},
    "sagemaker_training": {"train.__main__", "train.job.script"},
    "sagemaker": {"local.sagemaker.sdk"},
    "boto3": {"local.registry.ecr", "local.sagemaker.sdk"},
    "botocore": {"local.registry.ecr"},
    **{name: {"local.registry.docker_engine"} for name in ("docker", "requests", "urllib3")},
    "safetensors": {"train.weights.files", "local.commands.weights"},
    "yaml": {"local.datasets.layouts.yolo.data_yaml"},
    "numpy": {""},
    "PIL": {""},
}


def modules(*folders: str) -> dict[str, Path]:
    """Return the modules below these folders by name, such as `serve.artifact`, or `serve` for serve/__init__.py."""
    files = [file for folder in folders for file in (REPOSITORY / folder).rglob("*.py")]
    names = [".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in files]
    return {name.removesuffix(".__init__"): file for name, file in zip(names, files, strict=True)}


@functools.cache
def imported(file: Path) -> frozenset[str]:
    """Return the full names that a file imports, such as `serve.artifact` or `serve.artifact.read`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update(f"{'.' * node.level}{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def first_party_imports(folder: str) -> set[str]:
    """Return the modules of this repository outside `folder` that the modules in `folder` import."""
    our_modules = modules(*OURS)
    imports = {name for file in modules(folder).values() for name in imported(file)}
    # `import serve` is only for `serve.__version__`.
    named = {"serve.__version__" if name == "serve" else name for name in imports}
    origins = {
        name if name in our_modules or name == "serve.__version__" else name.rpartition(".")[0] for name in named
    }
    return {name for name in origins if name.partition(".")[0] in OURS and name.partition(".")[0] != folder}


def allowed(folder: str) -> str:
    """Return what `folder` may import according to the table in CONTRIBUTING.md."""
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{folder}/` \| .* \| (.*) \|$", page, re.MULTILINE)
    assert row, folder
    return row[1]


def test_train_imports_exactly_what_the_table_lists() -> None:
    assert set(re.findall(r"`([\w.]+)`", allowed("train"))) == first_party_imports("train")


def test_serve_imports_no_other_package_of_this_repository() -> None:
    assert allowed("serve") == "nothing of ours"
    assert first_party_imports("serve") == set()


def test_imports_are_absolute() -> None:
    files = modules("train", "serve", "local", "benchmarks")
    assert [name for name, file in files.items() if any(target.startswith(".") for target in imported(file))] == []


def test_there_are_no_import_cycles() -> None:
    files = modules("train", "serve", "local", "benchmarks")
    graph: dict[str, set[str]] = {}
    for module, file in files.items():
        # `serve.artifact.read` is in the module serve.artifact.
        imports = {name if name in files else name.rpartition(".")[0] for name in imported(file)}
        graph[module] = imports & files.keys()
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"{' imports '.join(reversed(error.args[1]))}", pytrace=False)


def place_of(module: str, places: set[str]) -> str:
    """Return the entry of `places` that contains the module, or the module itself if there is none."""
    return next((place for place in places if place in ("", module) or module.startswith(f"{place}.")), module)


@pytest.mark.parametrize("package", THIRD_PARTY)
def test_third_party_packages_are_imported_only_by_the_listed_modules(package: str) -> None:
    importing = {
        place_of(module, THIRD_PARTY[package])
        for module, file in modules("train", "serve", "local").items()
        if any(name.partition(".")[0] == package for name in imported(file))
    }
    assert importing == THIRD_PARTY[package]


def test_every_imported_third_party_package_is_listed() -> None:
    names = {name for file in modules("train", "serve", "local").values() for name in imported(file)}
    third_party = {name.partition(".")[0] for name in names} - {"", "_typeshed", *OURS} - sys.stdlib_module_names
    assert third_party == set(THIRD_PARTY)


def test_local_imports_train_and_serve_without_a_framework() -> None:
    assert {name.partition(".")[0] for name in first_party_imports("local")} == {"train", "serve"}
    for framework in ("mxnet", "tensorflow", "onnxruntime"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(framework)
    names = modules("local")
    assert "local.commands.weights" in names
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)


@pytest.mark.parametrize(
    "package",
    sorted({file.parent for file in modules("train", "serve", "local").values()}),
    ids=lambda path: path.relative_to(REPOSITORY).as_posix(),
)
def test_a_package_has_two_to_fifteen_modules(package: Path) -> None:
    names = {file.name for file in package.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert 2 <= len(names) <= 15
