"""The model of an earlier job in the same folder: set aside once this job is accepted, removed once it has succeeded.

In SageMaker the model folder is empty when a job begins. In a run of a user's own it may hold the model of the job
before, which a typo must not destroy and which must not be served as the model of a job that has left none. It waits in
a hidden folder inside the model folder: nothing else is sure to be on the user's disk and of one file system with it.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve.artifact import MODEL_JSON, MODEL_ONNX
from serve.left import SAVED_MODEL
from train.log import LOG

ASIDE = ".earlier-model"
# What jobs leave, and script mode converts.
_SAVED_MODEL = (SAVED_MODEL, "variables", "assets", "fingerprint.pb", "keras_metadata.pb")
_LEFT = (
    *(MODEL_JSON, MODEL_ONNX, "*.keras"),
    *("image-classification-*.params", "image-classification-symbol.json", "model-shapes.json"),
    *("model_algo_1-0000.params", "model_algo_1-symbol.json", "hyperparams.json", "model_best.params", "model_algo-1"),
)


def _found(folder: Path) -> list[Path]:
    """Return what of the model folder belongs to a model, files and whole folders of SavedModels."""
    patterns = _LEFT + (_SAVED_MODEL if (folder / SAVED_MODEL).exists() else ())
    named = [path for pattern in patterns for path in folder.glob(pattern)]
    inside = [path.parent for path in folder.rglob(f"*/{SAVED_MODEL}") if ASIDE not in path.relative_to(folder).parts]
    return named + inside


def set_aside(folder: Path) -> None:
    """Move the model in `folder` aside, and make the folder if it is missing.

    Called when hyperparameters, channels and data have been accepted.

    What a job that did not finish has left in its place stays, so that the finished model before it is not lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found, aside = _found(folder), folder / ASIDE
    if not found or (aside.exists() and not (folder / MODEL_JSON).exists()):
        return
    shutil.rmtree(aside, ignore_errors=True)
    _move(found, folder, aside)
    LOG.info("The model of an earlier job in %s is set aside in %s until this job has succeeded", folder, aside)


@contextmanager
def settled(folder: Path) -> Iterator[None]:
    """Run a job inside the block, and decide at its end what becomes of the model that `set_aside` has moved.

    It is removed when this job has left one, back in its place when this job has failed and left nothing, and stays
    aside otherwise: the job was stopped too early, or has failed and left something unfinished.
    """
    aside = folder / ASIDE
    try:
        yield
    except Exception:
        if aside.exists() and not _found(folder):
            _move(_found(aside), aside, folder)
            shutil.rmtree(aside)
            LOG.warning("This job has left no model: that of an earlier job is back in %s", folder)
        elif aside.exists():
            LOG.warning("The model of an earlier job is kept in %s", aside)
        raise
    if aside.exists() and _found(folder):
        shutil.rmtree(aside, ignore_errors=True)  # files of another user must not fail a job that has succeeded
    elif aside.exists():
        LOG.warning("This job has left no model: that of an earlier job is kept in %s", aside)


def _move(paths: list[Path], source: Path, target: Path) -> None:
    for path in (path for path in paths if path.exists()):  # one may lie in a folder that has been moved
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        path.rename(to)
