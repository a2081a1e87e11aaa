"""Imports go one way, as the table in CONTRIBUTING.md says."""

import ast
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import local
from tests.environments import REPOSITORY

OURS = ("train", "serve", "local", "benchmarks", "tests")


def imported(folder: str) -> set[str]:
    """What of ours the modules below `folder` import from elsewhere, to the second name: serve.artifact."""
    found: set[str] = set()
    for file in (REPOSITORY / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(name.name for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.update(f"{node.module}.{name.name}" for name in node.names)
    # `import serve` is for its version.
    parts = (name.split(".") if "." in name else [name, "__version__"] for name in found)
    return {".".join(part[:2]) for part in parts if part[0] in OURS and part[0] != folder}


def allowed(folder: str) -> str:
    """What the table says that `folder` may import."""
    row = re.search(
        rf"^\| `{folder}/` \| .* \| (.*) \|$",
        (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert row, folder
    return row[1]


def test_train_imports_of_serve_what_the_table_names() -> None:
    assert set(re.findall(r"`([\w.]+)`", allowed("train"))) == imported("train")


def test_serve_imports_nothing_of_ours() -> None:
    assert allowed("serve") == "nothing of ours"
    assert imported("serve") == set()


def test_local_imports_train_and_serve_without_a_framework() -> None:
    assert {name.partition(".")[0] for name in imported("local")} == {"train", "serve"}
    for framework in ("mxnet", "tensorflow", "onnxruntime"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(framework)
    folder = str(Path(local.__file__).parent)
    names = [module.name for module in pkgutil.walk_packages([folder], "local.")]
    assert "local.weights" in names
    for name in names:
        if not name.endswith("__main__"):
            importlib.import_module(name)
