"""Protect the model of an earlier job in the same folder: set it aside, and remove it only after this job succeeds.

In SageMaker, the model folder is empty when a job starts. Outside SageMaker, it may contain the model of the previous
job. A typo must not destroy that model, and if this job writes none, the old one must not be served in its place. It is
moved to a hidden folder inside the model folder, which is certain to be on the user's disk and the same file system.
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
    "image-classification-*.params",
    "image-classification-symbol.json",
    "model-shapes.json",
    "model_algo_1-0000.params",
    "model_algo_1-symbol.json",
    "hyperparams.json",
    "model_best.params",
    "model_algo-1",
)
"""The names of the files that jobs write."""
_SAVED_MODEL = (SAVED_MODEL, "variables", "assets", "fingerprint.pb", "keras_metadata.pb")
"""The names in a SavedModel's folder."""


def _model_files(folder: Path) -> list[Path]:
    """Return the paths in the folder that belong to a model: a job's files, and a SavedModel that `serve` accepts.

    The SavedModel must be in the folder itself or, as in SageMaker's examples, in one whose name is a number.
    """
    paths = [path for pattern in _OURS for path in folder.glob(pattern)]
    try:
        saved_model = discovery.find(folder, ignore_graph=True)
    except ArtifactError:  # there are several, so none would be served
        saved_model = None
    if saved_model is not None and (saved_model.path == folder or saved_model.path.name.isdecimal()):
        paths += [saved_model.path / name for name in _SAVED_MODEL if (saved_model.path / name).exists()]
    return paths


def set_aside(folder: Path) -> None:
    """Move the model in `folder` aside. Create the folder if it is missing.

    Call this only after hyperparameters, channels and data have been checked.

    The files of an unfinished job are not moved, because they would replace the finished model that was set aside
    before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths, aside = _model_files(folder), folder / ASIDE
    if not paths or (aside.exists() and not (folder / MODEL_JSON).exists()):
        return
    shutil.rmtree(aside, ignore_errors=True)
    _move(paths, folder, aside)
    LOG.info("Moved the model of an earlier job from %s to %s until this job succeeds", folder, aside)
    stop.add_to_exit_message(f"The model of an earlier job is kept in {aside}.")


@contextmanager
def restored_on_failure(folder: Path) -> Iterator[None]:
    """Run a job in the block, then remove or restore the model that `set_aside` moved.

    It is removed if this job wrote a model, and restored if this job failed without writing any files. Otherwise it
    stays aside: the job was stopped too early, or failed and left incomplete files.
    """
    aside = folder / ASIDE
    try:
        yield
    except Exception:
        if aside.exists():
            LOG.warning(_put_back(aside, folder))
        raise
    if aside.exists() and _model_files(folder):
        shutil.rmtree(aside, ignore_errors=True)  # another user's files must not fail a job that succeeded
    elif aside.exists():
        LOG.warning("This job wrote no model; the model of an earlier job is kept in %s", aside)


def _put_back(aside: Path, folder: Path) -> str:
    """Move the earlier model back unless there are files in its place; return a message for the log."""
    paths = _model_files(aside)
    kept = f"The model of an earlier job is kept in {aside}"
    if _model_files(folder) or any((folder / path.relative_to(aside)).exists() for path in paths):
        return kept
    try:
        _move(paths, aside, folder)
        shutil.rmtree(aside)
    except OSError as error:  # must not hide why the job failed
        return f"{kept}, because it cannot be moved back ({error})"
    return f"This job wrote no model; restored the model of an earlier job to {folder}"


def _move(paths: list[Path], source: Path, target: Path) -> None:
    for path in paths:
        destination = target / path.relative_to(source)
        destination.parent.mkdir(parents=True, exist_ok=True)
        path.rename(destination)
