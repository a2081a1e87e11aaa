"""examples/cat_or_dog/train.py and the notebook that asks its model: what both do to a photo."""

import ast
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.framework import bodies_example_script as bodies
from tests.notebooks import EXAMPLES, code

Run = Callable[..., Any]
SCRIPT = EXAMPLES / "cat_or_dog" / "train.py"


@pytest.fixture
def folders(drawn: Path, tmp_path: Path) -> Path:
    """Class folders with ten photos each."""
    for name, pattern in (("cat", "[A-Z]*.jpg"), ("dog", "[a-z]*.jpg")):
        (tmp_path / name).mkdir()
        for photo in sorted((drawn / "images").glob(pattern))[:10]:
            shutil.copy(photo, tmp_path / name)
    return tmp_path


def test_each_epoch_of_the_script_sees_all_photos_in_another_order(folders: Path, in_tensorflow: Run) -> None:
    first, second = in_tensorflow(bodies.orders, SCRIPT, folders)
    assert len(first) == 20
    assert first != second
    assert sorted(first) == pytest.approx(sorted(second))


def test_the_notebook_sends_the_pixels_that_the_script_trains_on(folders: Path, in_tensorflow: Run) -> None:
    cell = ast.parse(code("image-classification-tensorflow", ["predict"]))
    (function,) = [node for node in cell.body if isinstance(node, ast.FunctionDef)]
    found = in_tensorflow(bodies.differences, SCRIPT, ast.unparse(function), folders)
    # What is left is between the two libraries' ways to decode a JPEG.
    assert all(sent < 1.5 < smoothed for sent, smoothed in found), found


def test_the_exported_model_answers_as_validation_saw_it_without_chance(tmp_path: Path, in_tensorflow: Run) -> None:
    validated, once, again = in_tensorflow(bodies.exported, SCRIPT, tmp_path / "model")
    assert once == again
    assert once == pytest.approx(validated, abs=1e-4)
