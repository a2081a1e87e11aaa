"""The notebooks in examples/ as files. tests/local_mode/test_notebooks.py runs them."""

import ast
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from local import algorithms
from tests.notebooks import EXAMPLES, NAMES, cells, code, path

CLOUD = ("IMAGE", "ROLE", "TRAIN_ON", "SERVE_ON", "BUCKET")


def test_each_training_image_has_a_notebook_that_the_readme_links_to() -> None:
    assert {file.name.partition(".")[0] for file in EXAMPLES.glob("*.ipynb")} == set(NAMES)
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({name}.ipynb)" in page for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_have_no_outputs_and_are_formatted_as_by_jupyter(name: str) -> None:
    text = path(name).read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert text == json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", NAMES)
def test_one_cell_is_tagged_parameters_and_sets_what_the_cloud_needs(name: str) -> None:
    tagged = [cell for cell in cells(name) if "parameters" in cell["metadata"].get("tags", ())]
    assert [cell["id"] for cell in tagged] == ["parameters"]
    parameters = {node.targets[0].id for node in ast.parse(code(name, ["parameters"])).body}
    assert {"DATA", "EPOCHS", *CLOUD} <= parameters
    code_cells = [cell["id"] for cell in cells(name) if cell["cell_type"] == "code"]
    other_nodes = ast.walk(ast.parse(code(name, [cell for cell in code_cells if cell != "parameters"])))
    stored = {node.id for node in other_nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert not stored & parameters, "a parameter is assigned again"


@pytest.mark.parametrize("name", ["image-classification", "object-detection"])
def test_notebooks_use_the_recipe_that_was_measured_on_real_photos(name: str) -> None:
    names: dict[str, Any] = {"summary": SimpleNamespace(class_names=["cat", "dog", "pug"], counts={"train": 300})}
    exec(code(name, ["parameters"]), names)
    for node in ast.walk(ast.parse(code(name, ["train"]))):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "steps":
            exec(ast.unparse(node), names)
        if isinstance(node, ast.keyword) and node.arg == "hyperparameters":
            hyperparameters = eval(ast.unparse(node.value), names)
    recipe = algorithms.get(name).recipe(False, None, {"num_classes": 3, "num_training_samples": 300})
    defaults = {"use_pretrained_model": 0, "overlap_threshold": 0.5, "nms_threshold": 0.45}
    assert {**defaults, **hyperparameters} == {
        **defaults,
        **recipe,
        "lr_scheduler_step": str(recipe["lr_scheduler_step"]),
    }


@pytest.mark.parametrize("name", NAMES)
def test_links_in_notebooks_lead_to_existing_files(name: str) -> None:
    text = "".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all((EXAMPLES / link.partition("#")[0]).exists() for link in links), links
