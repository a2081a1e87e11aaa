"""Imports go one way. Those inside a function and those for type checkers count too."""

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
# By package of others: the packages and modules that import it, which must be all of them. "" stands for any.
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
    """The modules below these folders, by name: `serve.artifact`, `serve` for serve/__init__.py."""
    files = [file for folder in folders for file in (REPOSITORY / folder).rglob("*.py")]
    names = [".".join(file.relative_to(REPOSITORY).with_suffix("").parts) for file in files]
    return {name.removesuffix(".__init__"): file for name, file in zip(names, files, strict=True)}


@functools.cache
def imported(file: Path) -> frozenset[str]:
    """What a file imports, by full name: `serve.artifact`, or `serve.artifact.read` for what it takes from there."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(f"{'.' * node.level}{node.module}.{name.name}" for name in node.names)
    return frozenset(found)


def imported_of_ours(folder: str) -> set[str]:
    """What of ours the modules below `folder` import from elsewhere, by module: serve.artifact."""
    known = modules(*OURS)
    found = {name for file in modules(folder).values() for name in imported(file)}
    # `import serve` is for its version.
    named = {"serve.__version__" if name == "serve" else name for name in found}
    places = {name if name in known or name == "serve.__version__" else name.rpartition(".")[0] for name in named}
    return {name for name in places if name.partition(".")[0] in OURS and name.partition(".")[0] != folder}


def allowed(folder: str) -> str:
    """What the table says that `folder` may import."""
    page = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{folder}/` \| .* \| (.*) \|$", page, re.MULTILINE)
    assert row, folder
    return row[1]


def test_train_imports_of_serve_what_the_table_names() -> None:
    assert set(re.findall(r"`([\w.]+)`", allowed("train"))) == imported_of_ours("train")


def test_serve_imports_nothing_of_ours() -> None:
    assert allowed("serve") == "nothing of ours"
    assert imported_of_ours("serve") == set()


def test_an_import_names_the_whole_package() -> None:
    files = modules("train", "serve", "local", "benchmarks")
    assert [name for name, file in files.items() if any(found.startswith(".") for found in imported(file))] == []


def test_no_import_leads_back_to_its_module() -> None:
    files = modules("train", "serve", "local", "benchmarks")
    graph: dict[str, set[str]] = {}
    for module, file in files.items():
        # `serve.artifact.read` is of the module serve.artifact.
        found = {name if name in files else name.rpartition(".")[0] for name in imported(file)}
        graph[module] = found & files.keys()
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"{' imports '.join(reversed(error.args[1]))}", pytrace=False)


def place_of(module: str, places: set[str]) -> str:
    """The one of `places` that the module is or lies below, or the module itself when there is none."""
    return next((place for place in places if place in ("", module) or module.startswith(f"{place}.")), module)


@pytest.mark.parametrize("package", THIRD_PARTY)
def test_a_framework_is_imported_only_where_it_is_needed(package: str) -> None:
    importing = {
        place_of(module, THIRD_PARTY[package])
        for module, file in modules("train", "serve", "local").items()
        if any(name.partition(".")[0] == package for name in imported(file))
    }
    assert importing == THIRD_PARTY[package]


def test_every_package_of_others_that_is_imported_is_in_the_list() -> None:
    names = {name for file in modules("train", "serve", "local").values() for name in imported(file)}
    others = {name.partition(".")[0] for name in names} - {"", "_typeshed", *OURS} - sys.stdlib_module_names
    assert others == set(THIRD_PARTY)


def test_local_imports_train_and_serve_without_a_framework() -> None:
    assert {name.partition(".")[0] for name in imported_of_ours("local")} == {"train", "serve"}
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
