"""Run the demo on a few drawn photos: train, serve and query with the programs of the images."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.environments import REPOSITORY, python


def demo(name: str, data: Path, out: Path) -> list[str]:
    """Run one epoch of the demo on `data`, which must succeed, and return the lines that it prints."""
    python("mxnet"), python("serve")
    done = subprocess.run(
        [sys.executable, "-m", "local", "demo", name, "--data", str(data), "--epochs", "1", "--out", str(out)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "opt" / "ml" / "model" / "model.onnx").stat().st_size > 1_000_000
    lines = done.stdout.splitlines()
    heading = lines.index("Try it yourself:")
    # The commands can be pasted into a shell, whatever the folder's name is.
    assert shlex.split(lines[heading + 1]) == ["make", "serve", f"BASE_DIR={out / 'opt' / 'ml'}"]
    *_, option, photo, url = shlex.split(lines[heading + 3])
    assert (option, photo[0], url) == ("--data-binary", "@", "http://127.0.0.1:8080/invocations")
    assert Path(photo[1:]).stat().st_size > 0
    return lines


def test_the_accuracy_of_the_demo_agrees_with_its_table_and_the_training_log(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "Ann's demo"
    lines = demo("image-classification", drawn, out)
    printed = re.fullmatch(r"accuracy (\d\.\d\d) \((\d+) of 12\)", lines[-1])
    assert printed, lines[-1]
    assert printed[1] == f"{int(printed[2]) / 12:.2f}"
    header = next(index for index, line in enumerate(lines) if line.startswith("true, predicted as"))
    counts = [[int(cell.replace(".", "0")) for cell in line.split()[1:]] for line in lines[header + 1 : header + 7]]
    assert sum(map(sum, counts)) == 12
    assert sum(counts[label][label] for label in range(6)) == int(printed[2])
    logged = re.findall(r"Epoch\[0\] Validation-accuracy=(\S+)", "\n".join(lines))
    assert float(logged[0]) == float(f"{int(printed[2]) / 12:.6f}"), "the endpoint disagrees with the training log"
    assert json.loads((out / "opt" / "ml" / "model" / "model.json").read_text())["class_names"][0] == "beagle"
    with Image.open(out / "predictions.png") as sheet:
        assert sheet.size == (956, 400)


def test_the_map_of_the_detection_demo_agrees_with_its_table_and_the_training_log(drawn: Path, tmp_path: Path) -> None:
    lines = demo("object-detection", drawn, tmp_path)
    printed = re.fullmatch(r"mAP (\d\.\d\d) \(VOC07, 6 photos\)", lines[-1])
    assert printed, lines[-1]
    header = next(index for index, line in enumerate(lines) if line.startswith("class "))
    rows = {row[0]: row[1:] for row in (line.split() for line in lines[header + 1 : header + 3])}
    assert {name: row[1] for name, row in rows.items()} == {"cat": "3", "dog": "3"}
    assert float(printed[1]) == pytest.approx(sum(float(row[0]) for row in rows.values()) / 2, abs=0.011)
    logged = re.findall(r"epoch=0, validation mAP <score>=\((\S+)\)", "\n".join(lines))
    assert float(printed[1]) == pytest.approx(float(logged[0]), abs=0.015), (
        "the endpoint disagrees with the training log"
    )
    assert json.loads((tmp_path / "opt" / "ml" / "model" / "model.json").read_text())["class_names"] == ["cat", "dog"]
    with Image.open(tmp_path / "predictions.png") as sheet:
        assert sheet.size == (1000, 534)


def test_the_miou_of_the_segmentation_demo_agrees_with_its_table_and_the_training_log(
    drawn: Path, tmp_path: Path
) -> None:
    lines = demo("semantic-segmentation", drawn, tmp_path)
    printed = re.fullmatch(r"mIOU (\d\.\d\d) \(3 classes, 12 photos\)", lines[-1])
    assert printed, lines[-1]
    header = next(index for index, line in enumerate(lines) if line.startswith("class "))
    rows = [line.split() for line in lines[header + 1 : header + 4]]
    assert [row[0] for row in rows] == ["pet", "background", "border"]
    assert float(printed[1]) == pytest.approx(sum(float(row[1]) for row in rows) / 3, abs=0.011)
    assert sum(float(row[2]) for row in rows) == pytest.approx(100, abs=0.2), "percentages of the true pixels"
    logged = re.findall(r"epoch: 0, validation mIOU: (\S+)", "\n".join(lines))
    assert float(printed[1]) == pytest.approx(float(logged[0]), abs=0.006), (
        "the endpoint disagrees with the training log"
    )
    description = json.loads((tmp_path / "opt" / "ml" / "model" / "model.json").read_text())
    assert description["class_names"] == ["pet", "background", "border"]
    with Image.open(tmp_path / "predictions.png") as sheet:
        assert sheet.size == (1240, 30 + 6 * 208 + 8)
