"""The pages of docs/ as a reader copies from them: code below a mark, and metric definitions with their log."""

import json
import re
from pathlib import Path
from typing import Any

from tests.aws import ACCOUNT, REGION
from tests.environments import REPOSITORY

DOCS = REPOSITORY / "docs"
SWITCHING = DOCS / "switching.md"
METRICS = DOCS / "metrics.md"
DATA = DOCS / "data.md"
TRAINING = DOCS / "training.md"
INSTANCES = DOCS / "instances.md"
SCRIPT_MODE = DOCS / "script-mode.md"
# What the pages' code for the cloud leaves to the reader, and what the tests write for it.
PLACES = {"ACCOUNT": ACCOUNT, "REGION": REGION, "ROLE": "vision", "BUCKET": "pets"}


def snippet(name: str, page: Path = SWITCHING) -> str:
    """The code on `page` below the mark of that name."""
    found = re.search(rf"<!-- snippet: {name} -->\n```\w+\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{page} has no snippet {name}"
    return found[1]


def on_spot(name: str) -> tuple[str, dict[str, Any]]:
    """The code of docs/training.md for spot instances with its names filled in, and what it is to send."""
    code = re.sub("|".join(PLACES), lambda name: PLACES[name[0]], snippet(name, TRAINING))
    return code, {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 172800},
    }


def metrics(algorithm: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The log's lines and the metric definitions that docs/metrics.md has of an algorithm."""
    text = METRICS.read_text(encoding="utf-8")
    found = re.search(rf"^## {algorithm}\n+```\n(.*?)```.*?```json\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    assert found, f"{METRICS} has no metrics of {algorithm}"
    return found[1].splitlines(), json.loads(found[2])


def script_mode(mark: str, uri: str, keras2: bool) -> str:
    """The code of docs/script-mode.md that fits and deploys a script with image `uri`, for one Keras or the other."""
    code, image = snippet(mark, SCRIPT_MODE), "sagemaker-vision/image-classification-tensorflow:dev"
    legacy = '    environment={"TF_USE_LEGACY_KERAS": "1"},'
    assert image in code
    assert legacy in code
    code = code.replace(image, uri)
    return code if keras2 else code.replace(f"{legacy}\n", "")
