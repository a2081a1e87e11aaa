"""Reads the code and the metric definitions that readers copy from the pages in docs/."""

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
# Placeholders in the pages' code for the cloud, and the values that the tests use.
PLACES = {"ACCOUNT": ACCOUNT, "REGION": REGION, "ROLE": "vision", "BUCKET": "pets"}


def snippet(name: str, page: Path = SWITCHING) -> str:
    """Return the code on `page` below the marker with this name."""
    match = re.search(rf"<!-- snippet: {name} -->\n```\w+\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert match, f"{page} has no snippet {name}"
    return match[1]


def on_spot(name: str) -> tuple[str, dict[str, Any]]:
    """Return the code for spot instances in docs/training.md, with placeholders filled in, and the expected request."""
    code = re.sub("|".join(PLACES), lambda name: PLACES[name[0]], snippet(name, TRAINING))
    return code, {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400, "MaxWaitTimeInSeconds": 172800},
    }


def metrics(algorithm: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the log lines and the metric definitions of an algorithm in docs/metrics.md."""
    text = METRICS.read_text(encoding="utf-8")
    match = re.search(rf"^## {algorithm}\n+```\n(.*?)```.*?```json\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    assert match, f"{METRICS} has no metrics of {algorithm}"
    return match[1].splitlines(), json.loads(match[2])


def script_mode(mark: str, uri: str, keras2: bool) -> str:
    """Return the code in docs/script-mode.md that trains and deploys a script with image `uri`, for Keras 2 or 3."""
    code, image = snippet(mark, SCRIPT_MODE), "sagemaker-vision/image-classification-tensorflow:dev"
    legacy = '    environment={"TF_USE_LEGACY_KERAS": "1"},'
    assert image in code
    assert legacy in code
    code = code.replace(image, uri)
    if keras2:
        return code
    code = re.sub(re.escape(legacy) + r".*\n", "", code)
    assert "TF_USE_LEGACY_KERAS" not in code
    return code
