"""The pages of docs/ as a reader copies from them: code below a mark, and metric definitions with their log."""

import json
import re
from pathlib import Path
from typing import Any

from tests.environments import REPOSITORY

DOCS = REPOSITORY / "docs"
SWITCHING = DOCS / "switching.md"
METRICS = DOCS / "metrics.md"
DATA = DOCS / "data.md"


def snippet(name: str, page: Path = SWITCHING) -> str:
    """The code on `page` below the mark of that name."""
    found = re.search(rf"<!-- snippet: {name} -->\n```\w+\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{page} has no snippet {name}"
    return found[1]


def metrics(algorithm: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The log's lines and the metric definitions that docs/metrics.md has of an algorithm."""
    text = METRICS.read_text(encoding="utf-8")
    found = re.search(rf"^## {algorithm}\n+```\n(.*?)```.*?```json\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    assert found, f"{METRICS} has no metrics of {algorithm}"
    return found[1].splitlines(), json.loads(found[2])
