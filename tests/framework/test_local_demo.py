"""The demo through the image's own programs: trained, served and asked over HTTP, on a few drawn photos."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.environments import REPOSITORY, python


def test_the_demo_trains_serves_and_tells_an_accuracy_that_its_own_table_adds_up_to(
    drawn: Path, tmp_path: Path
) -> None:
    python("mxnet"), python("serve")
    options = ["--data", drawn, "--epochs", "1", "--out", tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "local", "demo", "image-classification", *map(str, options)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    told = re.fullmatch(r"accuracy (\d\.\d\d) \((\d+) of 12\)", lines[-1])
    assert told, lines[-1]
    assert told[1] == f"{int(told[2]) / 12:.2f}"
    header = next(index for index, line in enumerate(lines) if line.startswith("true, predicted as"))
    counts = [[int(cell.replace(".", "0")) for cell in line.split()[1:]] for line in lines[header + 1 : header + 7]]
    assert sum(map(sum, counts)) == 12
    assert sum(counts[label][label] for label in range(6)) == int(told[2])
    logged = re.findall(r"Epoch\[0\] Validation-accuracy=(\S+)", done.stdout)
    assert float(logged[0]) == float(f"{int(told[2]) / 12:.6f}"), "the endpoint disagrees with the training log"
    model = tmp_path / "opt" / "ml" / "model"
    assert json.loads((model / "model.json").read_text())["class_names"][0] == "beagle"
    assert (model / "model.onnx").stat().st_size > 1_000_000
    with Image.open(tmp_path / "predictions.png") as sheet:
        assert sheet.size == (956, 400)
