"""A user's own script in the TensorFlow image, in local mode with SDK v3. tests/sdk2/test_scripts.py uses SDK v2."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.environments import REPOSITORY
from tests.local_mode.responses import is_score
from tests.pages import SCRIPT_MODE, script_mode


@pytest.mark.parametrize("name", ["keras3", "keras2"])
def test_the_script_mode_example_in_the_docs_trains_deploys_and_predicts(
    machine: Path, script_uri: str, script_folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = script_folder(name)
    code = script_mode("sdk3-script", script_uri, keras2=name == "keras2")
    last = "import json; open('answer.json', 'w').write(json.dumps(predictions))"
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{last}"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert is_score(json.loads((folder / "answer.json").read_text()))
    assert "installed, works in /opt/ml/input/data/code." in done.stdout
    assert "`/opt/ml/input/data/code`" in SCRIPT_MODE.read_text(encoding="utf-8")
