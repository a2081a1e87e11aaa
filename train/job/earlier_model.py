"""The model of an earlier job in the same folder: set aside once this job is accepted, removed once it has succeeded.

In SageMaker the model folder is empty when a job begins. In a run of a user's own it may hold the model of the job
before. A typo must not destroy it, and it must not be served as the model of a job that wrote none. It waits in a
hidden folder inside the model folder: nothing else is sure to be on the user's disk and of one file system with it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve.artifact import EARLIER as ASIDE
from serve.artifact import MODEL_JSON, MODEL_ONNX, ArtifactError
from serve.user_model import discovery
from serve.user_model.discovery import SAVED_MODEL
from train.job import stop
from train.log import LOG

_OURS = (
    *(MODEL_JSON, MODEL_ONNX, "model-*.onnx", "model.keras"),
    *("image-classification-*.params", "image-classification-symbol.json", "model-shapes.json"),
    *("model_algo_1-0000.params", "model_algo_1-symbol.json", "hyperparams.json", "model_best.params", "model_algo-1"),
)
"""Names of what a job leaves."""
_SAVED_MODEL = (SAVED_MODEL, "variables", "assets", "fingerprint.pb", "keras_metadata.pb")
"""Names in the folder of a SavedModel."""


def _found(folder: Path) -> list[Path]:
    """Return what in the folder belongs to a model: files that jobs leave, and the SavedModel that `serve` takes.

    A SavedModel counts in the folder itself or in one with a number for its name, as scripts are taught to save it.
    """
    found = [path for pattern in _OURS for path in folder.glob(pattern)]
    try:
        scripts = discovery.find(folder, beside_graph=True)
    except ArtifactError:  # there are several, of which none would be served
        scripts = None
    if scripts is not None and (scripts.path == folder or scripts.path.name.isdecimal()):
        found += [scripts.path / name for name in _SAVED_MODEL if (scripts.path / name).exists()]
    return found


def set_aside(folder: Path) -> None:
    """Move the model in `folder` aside, and make the folder if it is missing.

    Called when hyperparameters, channels and data have been accepted.

    Files of a job that did not finish stay where they are, so that the finished model before it is not lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found, aside = _found(folder), folder / ASIDE
    if not found or (aside.exists() and not (folder / MODEL_JSON).exists()):
        return
    shutil.rmtree(aside, ignore_errors=True)
    _move(found, folder, aside)
    LOG.info("The model of an earlier job in %s is set aside in %s until this job has succeeded", folder, aside)
    stop.add_to_exit_message(f"The model of an earlier job is kept in {aside}.")


@contextmanager
def restored_on_failure(folder: Path) -> Iterator[None]:
    """Run a job inside the block, and decide at its end what becomes of the model that `set_aside` has moved.

    It is removed when this job wrote a model, moved back when this job failed and wrote nothing, and stays aside
    otherwise: the job was stopped too early, or failed with something unfinished.
    """
    aside = folder / ASIDE
    try:
        yield
    except Exception:
        if aside.exists():
            LOG.warning(_put_back(aside, folder))
        raise
    if aside.exists() and _found(folder):
        shutil.rmtree(aside, ignore_errors=True)  # files of another user must not fail a job that has succeeded
    elif aside.exists():
        LOG.warning("This job wrote no model; the model of an earlier job is kept in %s", aside)


def _put_back(aside: Path, folder: Path) -> str:
    """Move the earlier model back unless something is in its place; return what has become of it, for the log."""
    found = _found(aside)
    kept = f"The model of an earlier job is kept in {aside}"
    if _found(folder) or any((folder / path.relative_to(aside)).exists() for path in found):
        return kept
    try:
        _move(found, aside, folder)
        shutil.rmtree(aside)
    except OSError as error:  # must not hide why the job has failed
        return f"{kept}, because it cannot be moved back ({error})"
    return f"This job wrote no model; the model of an earlier job is back in {folder}"


def _move(paths: list[Path], source: Path, target: Path) -> None:
    for path in paths:
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
