"""Script mode with the real `train`: converting the model that a script saved."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import jobs, scripts
from tests.environments import REPOSITORY
from tests.server import Server
from train.job import earlier_model

IMAGE = np.random.default_rng(1).random((1, 128, 128, 3)).round(3)


def class_folders(base: Path) -> Path:
    """Lay out the seed project's channel `training`: train/ and validation/ with a folder for each class."""
    rng = np.random.default_rng(2)
    for part, count in (("train", 16), ("validation", 4)):
        for index in range(count):
            folder = base / "input" / "data" / "training" / part / ("cat", "dog")[index % 2]
            folder.mkdir(parents=True, exist_ok=True)
            jobs.stripes(index % 2, rng).save(folder / f"{index}.jpg")
    return base


@pytest.fixture(scope="module", params=["keras3", "keras2"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> jobs.Done:
    """A job with a script like the seed project's, which exports a model of Keras 3 or 2."""
    base = class_folders(tmp_path_factory.mktemp(request.param))
    text = (REPOSITORY / "tests" / "fixtures" / "scripts" / request.param / "train.py").read_text()
    scripts.prepare(base, {"train.py": text}, epochs=1, batch_size=8, alpha=0.35)
    legacy = {"TF_USE_LEGACY_KERAS": "1" if request.param == "keras2" else "0"}
    done = scripts.run(base, environ=legacy, seconds=600)
    assert (done.code, done.failure) == (0, "")
    return done


def by_tensorflow(model: Path) -> float:
    """Return the exported model's prediction for the image, computed by TensorFlow."""
    signature = tf.saved_model.load(str(model)).signatures["serving_default"]
    [name] = signature.structured_input_signature[1]
    [output] = signature(**{name: tf.constant(IMAGE, tf.float32)}).values()
    return float(output[0, 0])


def by_serve(base: Path) -> tuple[list[list[float]], list[str]]:
    """Return the real server's predictions for the image, sent as JSON, and the server's log."""
    with Server(base, TMPDIR=str(base)) as server:
        server.wait_for("/ping returns 200", 600)
        status, _, body = server.request("POST", "/invocations", json.dumps(IMAGE.tolist()).encode())
        assert status == 200, body
        return json.loads(body)["predictions"], server.log()


def test_the_model_of_a_script_like_the_seed_projects_is_converted_and_served(trained: jobs.Done) -> None:
    assert "model/1 was converted: 2 checks, largest difference from TensorFlow" in trained.log
    assert {"1/saved_model.pb", "model.json", "model.onnx"} <= set(scripts.names(trained.model))
    expected = by_tensorflow(trained.model / "1")
    assert 0 < expected < 1
    predictions, log = by_serve(trained.model.parent)
    assert predictions == [[pytest.approx(expected, abs=1e-5)]]
    assert not [line for line in log if "for ONNX Runtime" in line]


@pytest.mark.parametrize("trained", ["keras2"], indirect=True)
def test_a_model_that_train_did_not_convert_is_converted_by_serve(trained: jobs.Done, tmp_path: Path) -> None:
    shutil.copytree(trained.model / "1", tmp_path / "model" / "1")  # as SDK v3's driver leaves it
    predictions, log = by_serve(tmp_path)
    assert predictions == [[pytest.approx(by_tensorflow(trained.model / "1"), abs=1e-5)]]
    assert [line for line in log if "converting model/1 for ONNX Runtime" in line]


def test_a_model_that_cannot_be_converted_is_kept_and_the_job_succeeds(tmp_path: Path) -> None:
    chance = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.RandomFlip(), keras.layers.Flatten()])
    chance.export(tmp_path / "source" / "made", verbose=False)
    text = "import os, shutil\nshutil.copytree('made', os.path.join(os.environ['SM_MODEL_DIR'], '1'))\n"
    done = scripts.run(scripts.prepare(tmp_path, {"train.py": text}), seconds=600)
    assert (done.code, done.failure) == (0, "")
    assert "the model is kept as the script saved it, without an ONNX version: signature" in done.log
    assert "keep augmentation out of the exported model" in done.log
    assert "1/saved_model.pb" in scripts.names(done.model)
    assert "model.onnx" not in scripts.names(done.model)


def test_a_job_warns_of_handlers_that_the_server_will_reject(tmp_path: Path) -> None:
    text = "import os\nfor name in ('1/saved_model.pb', 'code/inference.py'):\n"
    text += "    os.makedirs(os.path.dirname('../model/' + name))\n    open('../model/' + name, 'w').close()\n"
    done = scripts.run(scripts.prepare(tmp_path, {"train.py": text}))
    assert (done.code, done.failure) == (0, "")
    assert f"{done.model}/code/inference.py cannot be used, because this image does not support handlers." in done.log
    assert scripts.names(done.model) == ["1/saved_model.pb", "code/inference.py"]


def test_a_script_that_saves_nothing_gets_a_warning_and_the_earlier_model_is_set_aside(tmp_path: Path) -> None:
    jobs.earlier_model(tmp_path)
    done = scripts.run(scripts.prepare(tmp_path, {"train.py": ""}))
    assert (done.code, done.texts(), done.texts(earlier_model.ASIDE)) == (0, {}, jobs.EARLIER)
    assert f"the script saved nothing in {done.model} (SM_MODEL_DIR)" in done.log


def test_sigterm_during_the_conversion_keeps_the_scripts_model(tmp_path: Path) -> None:
    text = "import os\nos.makedirs('../model/1')\nopen('../model/1/saved_model.pb', 'w').close()\n"
    done = scripts.run(scripts.prepare(tmp_path, {"train.py": text}), until="converting model/1 for ONNX Runtime")
    assert (done.code, scripts.names(done.model)) == (0, ["1/saved_model.pb"])
    assert f"Stopped; the files that the script saved in {done.model} are kept" in done.log
