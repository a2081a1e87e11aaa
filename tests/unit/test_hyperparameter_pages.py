"""The tables of hyperparameters in docs/, held to the code: names, what is valid, and defaults."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from train.image_classification.table import TABLE as CLASSIFICATION
from train.image_classification_tensorflow.table import TABLE as TENSORFLOW
from train.object_detection.table import TABLE as DETECTION
from train.semantic_segmentation.table import TABLE as SEGMENTATION

from tests.pages import DOCS
from train.hyperparameters import REQUIRED, Hyperparameter
from train.image_classification_tensorflow import builtin

# How a page writes what a refusal says of a hyperparameter.
WORDS = (
    (r"a whole number of at least (\d+)", r"whole, \1 or more"),
    (r"a whole number from (\d+) to (\d+)", r"whole, \1 to \2"),
    (r"a number from 0 to 1", "0 to 1"),
    (r"0 to 1, without 0 and 1", "above 0, below 1"),
    (r"0 to 1, without 0", "above 0, to 1"),
    (r"0 to 1, without 1", "0 to below 1"),
    (r"degrees from (\d+)", r"degrees, \1"),
    (r"one of ", ""),
    (r"0, 1, true or false", "False, True"),
    (r"rising epoch numbers .*", "rising epochs, `10,20`"),
    (r"channels,height,width .* of at least (\d+)", r"`C,H,W`: 1 or 3 channels, sides of \1 or more"),
    (r"a regular expression .*", "a regular expression"),
    (r"any text", ""),
)
RESIZE = "whole, at least the smaller side of `image_shape`"
OVERLAP = "above 0, to 1"  # table.check refuses 0 in its own words
# What is valid, and the default, where another hyperparameter or the data has a say in it.
DEPENDS = {
    "hyperparameters": {
        "resize": (RESIZE, "required for images, none for RecordIO"),
        "top_k": ("2 to `num_classes`", "none"),
    },
    "object-detection": {"overlap_threshold": (OVERLAP, "0.5"), "nms_threshold": (OVERLAP, "0.45")},
    "semantic-segmentation": {
        "lr_scheduler_step": ("rising epochs, `10,20`", "required for step"),
        "inference_size": ("whole, 17 to 2048", "`base_size`"),
    },
    "image-classification-tensorflow": {
        "num_classes": ("whole, 2 or more", "the class folders"),
        "resize": (RESIZE, "that side"),
        "image_shape": ("`C,H,W`: 1 or 3 channels, sides of 32 or more", "`3,128,128`"),
        "train_layers": ("head; 1 to 19; all", "all; with `use_pretrained_model=1` head"),
        "mini_batch_size": ("whole, 1 or more", "32"),
        "batch_size": ("whole, 1 or more", "32"),
        "top_k": ("2 to the number of classes", "none"),
    },
}


def in_code(row: Hyperparameter) -> tuple[str, str]:
    """What a page has to say of a hyperparameter: what is valid, and the default."""
    valid = row.valid
    for words, page in WORDS:
        valid = re.sub(words, page, valid)
    return valid, "" if row.ignored is not None else default(row.default)


def default(value: Any) -> str:
    """How a page writes a default."""
    if value is REQUIRED:
        return "required"
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def on_page(page: str) -> dict[str, tuple[str, str]]:
    """What the page's table says of each hyperparameter."""
    table = (DOCS / f"{page}.md").read_text(encoding="utf-8").partition("| name | valid | default |")[2]
    told = {}
    for line in table.partition("\n\n")[0].splitlines()[2:]:
        first, valid, default, *_ = (cell.strip() for cell in line.split("|")[1:])
        names = re.findall(r"`(\w+)`", first)
        defaults = default.split(", ") if ", " in default and len(names) > 1 else [default] * len(names)
        if valid in ("0, 1", "True, False"):  # as the built-in writes it; all are taken
            valid, defaults = "False, True", [{"0": "False", "1": "True"}.get(each, each) for each in defaults]
        told |= {name: (valid, each) for name, each in zip(names, defaults, strict=True)}
    return told


@pytest.mark.parametrize(
    ("page", "table"),
    [
        ("hyperparameters", CLASSIFICATION),
        ("object-detection", DETECTION),
        ("semantic-segmentation", SEGMENTATION),
        ("image-classification-tensorflow", [row for row in TENSORFLOW if row not in builtin.ROWS]),
    ],
    ids=["image-classification", "object-detection", "semantic-segmentation", "image-classification-tensorflow"],
)
def test_a_page_tells_every_hyperparameter_with_what_is_valid_and_its_default(
    page: str, table: Sequence[Hyperparameter]
) -> None:
    assert on_page(page) == {row.name: in_code(row) for row in table} | DEPENDS.get(page, {})


def test_the_page_tells_as_what_each_hyperparameter_of_sagemakers_own_tensorflow_image_is_taken() -> None:
    page = (DOCS / "image-classification-tensorflow.md").read_text(encoding="utf-8")
    rows = page.partition("| name | taken as |")[2].partition("\n\n")[0].splitlines()[2:]
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert {row.name for row in builtin.ROWS} <= told
