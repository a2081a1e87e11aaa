"""The notebooks of examples/ as files: what is in git. What they do: tests/local_mode/test_notebooks.py."""

import ast
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest

from local import algorithms
from tests.notebooks import EXAMPLES, NAMES, cells, code, path

CLOUD = ("IMAGE", "ROLE", "TRAIN_ON", "SERVE_ON", "BUCKET")


def test_there_is_a_notebook_for_each_image_that_trains_and_the_readme_names_them_all() -> None:
    assert {file.name.partition(".")[0] for file in EXAMPLES.glob("*.ipynb")} == set(NAMES)
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({name}.ipynb)" in page for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_kept_without_outputs_and_in_the_form_that_jupyter_writes(name: str) -> None:
    text = path(name).read_text(encoding="utf-8")
    book = json.loads(text)
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    assert text == json.dumps(book, indent=1, ensure_ascii=False) + "\n"
    for cell in book["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    identities = [cell["id"] for cell in book["cells"]]
    assert len(set(identities)) == len(identities)


@pytest.mark.parametrize("name", NAMES)
def test_one_cell_is_tagged_as_the_one_to_change_and_holds_what_the_cloud_needs(name: str) -> None:
    tagged = [cell for cell in cells(name) if "parameters" in cell["metadata"].get("tags", ())]
    assert [cell["id"] for cell in tagged] == ["parameters"]
    set_there = {node.targets[0].id for node in ast.parse(code(name, ["parameters"])).body}
    assert {"DATA", "EPOCHS", *CLOUD} <= set_there
    code_cells = [cell["id"] for cell in cells(name) if cell["cell_type"] == "code"]
    others = ast.walk(ast.parse(code(name, [cell for cell in code_cells if cell != "parameters"])))
    stored = {node.id for node in others if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert not stored & set_there, "what the parameters say is not set again"


@pytest.mark.parametrize("name", ["image-classification", "object-detection"])
def test_a_notebook_trains_with_the_recipe_that_was_tried_on_real_photos(name: str) -> None:
    names: dict[str, Any] = {"summary": SimpleNamespace(class_names=["cat", "dog", "pug"], counts={"train": 300})}
    exec(code(name, ["parameters"]), names)
    for node in ast.walk(ast.parse(code(name, ["train"]))):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "falls":
            exec(ast.unparse(node), names)
        if isinstance(node, ast.keyword) and node.arg == "hyperparameters":
            given = eval(ast.unparse(node.value), names)
    tried = algorithms.get(name).recipe(False, None, {"num_classes": 3, "num_training_samples": 300})
    defaults = {"use_pretrained_model": 0, "overlap_threshold": 0.5, "nms_threshold": 0.45}
    assert {**defaults, **given} == {**defaults, **tried, "lr_scheduler_step": str(tried["lr_scheduler_step"])}


@pytest.mark.parametrize("name", NAMES)
def test_every_page_that_a_notebook_points_to_is_there(name: str) -> None:
    text = "".join("".join(cell["source"]) for cell in cells(name) if cell["cell_type"] == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all((EXAMPLES / link.partition("#")[0]).exists() for link in links), links
