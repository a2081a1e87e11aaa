"""`python -m serve.engine.check`, with which a training job verifies its model through the serving code."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serve import preprocess
from tests.environments import REPOSITORY
from tests.photos import encode, quarters, solid
from tests.products.serving import classification, probabilities

Done = subprocess.CompletedProcess[str]


def check(base: Path, work: Path, tensors: np.ndarray, files: list[Path]) -> Done:
    """Run the check on these tensors and files."""
    np.save(work / "tensors.npy", tensors)
    (work / "files.json").write_text(json.dumps([str(path) for path in files]))
    command = [sys.executable, "-m", "serve.engine.check", "--model-dir", base / "model", "--work", work]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)


def written(work: Path, photos: list[bytes]) -> list[Path]:
    """Write the photos to files and return their paths."""
    files = [work / f"{number}.image" for number in range(len(photos))]
    for file, photo in zip(files, photos, strict=True):
        file.write_bytes(photo)
    return files


def outputs(done: Done, work: Path, message: str) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Check that the run succeeded. Return the graph's outputs by name and the predictions for the files, in order."""
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"serve.engine.check: {message}\n"
    of_files = np.load(work / "file_outputs.npz")
    assert of_files.files == [str(number) for number in range(len(of_files.files))]
    return dict(np.load(work / "tensor_outputs.npz")), [of_files[name] for name in of_files.files]


def test_a_classifier_gives_probabilities(models: Path, tmp_path: Path) -> None:
    photos = [solid(255, 0, 0, kind="JPEG"), solid(0, 255, 0)]
    tensors = np.random.default_rng(0).random((35, 3, 8, 8), np.float32)
    done = check(models / "classifier", tmp_path, tensors, written(tmp_path, photos))
    of_tensors, of_files = outputs(done, tmp_path, "35 tensors and 2 files through channel means")
    assert of_tensors.keys() == {"probabilities"}
    assert {array.dtype for array in (of_tensors["probabilities"], *of_files)} == {np.dtype(np.float32)}
    by_hand = [probabilities(*tensor.mean(axis=(1, 2)).tolist()) for tensor in tensors]
    np.testing.assert_allclose(of_tensors["probabilities"], by_hand, atol=1e-5)
    assert len(of_files) == 2
    for photo, prediction in zip(photos, of_files, strict=True):
        means = preprocess.load(photo, classification().input).mean(axis=(1, 2))
        np.testing.assert_allclose(prediction, probabilities(*means.tolist()), atol=1e-5)


def test_a_detector_gives_scores_boxes_and_the_detections_of_each_file(models: Path, tmp_path: Path) -> None:
    photo = Image.new("RGB", (640, 320))
    photo.paste((255, 0, 0), (320, 80, 480, 160))
    tensors = np.random.default_rng(0).random((18, 3, 16, 16), np.float32)
    files = written(tmp_path, [encode(photo, "PNG"), solid(0, 0, 0)])
    done = check(models / "detector", tmp_path, tensors, files)
    of_tensors, of_files = outputs(done, tmp_path, "18 tensors and 2 files through cell means")
    assert of_tensors.keys() == {"scores", "boxes"}
    assert {array.dtype for array in (*of_tensors.values(), *of_files)} == {np.dtype(np.float32)}
    inner = tensors.reshape(18, 3, 4, 4, 4, 4)[:, :, :, 1:3, :, 1:3]
    cells = inner.mean(axis=(3, 5)).reshape(18, 3, 16).transpose(0, 2, 1)
    np.testing.assert_allclose(of_tensors["scores"], np.concatenate([cells, cells * 0.9], axis=1), atol=1e-5)
    assert of_tensors["boxes"].shape == (18, 32, 4)
    red, black = of_files
    assert red[0] == pytest.approx([0, 1, 0.5, 0.25, 0.75, 0.5], abs=0.02)
    assert len(black) == 0


def test_a_segmenter_gives_logits_and_the_mask_of_each_file(models: Path, tmp_path: Path) -> None:
    sizes = [(90, 60), (1, 1), (7, 50)]
    tensors = np.random.default_rng(0).random((18, 3, 64, 64), np.float32)
    files = written(tmp_path, [encode(quarters(*size), "PNG") for size in sizes])
    done = check(models / "segmenter", tmp_path, tensors, files)
    of_tensors, of_files = outputs(done, tmp_path, "18 tensors and 3 files through cell means")
    assert of_tensors.keys() == {"logits"}
    assert of_tensors["logits"].dtype == np.float32
    means = tensors.reshape(18, 3, 8, 8, 8, 8).mean(axis=(3, 5))
    np.testing.assert_allclose(of_tensors["logits"][:, :3], 20 * means, atol=1e-4)
    assert (of_tensors["logits"][:, 3] == 1).all()
    for (width, height), mask in zip(sizes, of_files, strict=True):
        assert (mask.dtype, mask.shape) == (np.uint8, (height, width))
    # Not at the edges between the colours.
    left, right, top, bottom = slice(0, 31), slice(59, 90), slice(0, 16), slice(44, 60)
    places = [(top, left), (top, right), (bottom, left), (bottom, right)]
    assert [np.unique(of_files[0][place]).tolist() for place in places] == [[0], [1], [2], [3]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("bad.jpg", b"hello", "bad.jpg: the image is not an image"), ("missing.jpg", None, "missing.jpg")],
)
def test_an_unreadable_file_is_named_and_nothing_is_written(
    models: Path, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = check(models / "classifier", tmp_path, np.zeros((0, 3, 8, 8), np.float32), [tmp_path / name])
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("*outputs*"))
