"""Finds the model that a user's script saved in the model folder, and converts it for the server.

Standard library only. The conversion runs in separate processes, in the environments with TensorFlow and ONNX Runtime,
so the server does not keep their memory.
"""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from serve.artifact import MODEL_ONNX, ArtifactError

SAVED_MODEL = "saved_model.pb"
EXPORTED = "saved_model"
"""The folder with the SavedModel that a conversion exports from a .keras file."""
IMAGE = "image-classification-tensorflow"
_ENVIRONMENTS = ("train", "tensorflow")  # in the image, and on a developer's machine
_MAX_MESSAGE = 400  # characters of a process's last line


class NotConverted(Exception):
    """The model cannot be converted for ONNX Runtime. The message says why."""


class Killed(NotConverted):
    """The conversion was killed, most likely by the kernel because memory ran out."""


@dataclass(frozen=True)
class UserModel:
    """A script's model: the folder of a SavedModel or a .keras file, and its name in messages."""

    path: Path
    name: str


def find(model_dir: Path, ignore_graph: bool = False) -> UserModel | None:
    """Return the model that a script saved in `model_dir`, or None.

    If there is a model.onnx, the model is already converted and the result is None, unless `ignore_graph` is set. Among
    SavedModels in numbered folders, at any depth, the one with the highest number is used. Raises ArtifactError if the
    choice is ambiguous.
    """
    if not model_dir.is_dir() or ((model_dir / MODEL_ONNX).exists() and not ignore_graph):
        return None
    folders = [path.parent for path in _visible(model_dir, SAVED_MODEL)]
    numbered = [folder for folder in folders if folder.name.isdecimal() and folder != model_dir]
    if len({folder.parent for folder in numbered}) == 1:
        numbered = [max(numbered, key=lambda folder: int(folder.name))]
    files = _visible(model_dir, "*.keras")
    files = [path for path in files if path.name == "model.keras"] or files
    for candidates in (numbered, folders, files):
        if len(candidates) > 1:
            names = ", ".join(sorted(_name(path, model_dir) for path in candidates)[:5])
            raise ArtifactError(f"{model_dir} contains {len(candidates)} models ({names}): keep only the one to serve.")
        if candidates:
            return UserModel(candidates[0], _name(candidates[0], model_dir))
    return None


def refuse_handlers(model_dir: Path) -> None:
    """Raise ArtifactError for SageMaker TensorFlow handlers, because ignoring them could silently change responses."""
    handlers = model_dir / "code" / "inference.py"
    if handlers.is_file():
        raise ArtifactError(
            f"{handlers} cannot be used, because this image does not support handlers. Remove it to serve the model "
            "without them, and move their work to the client."
        )


def no_tensorflow(user_model: UserModel) -> str:
    """Return the message about a model that this image cannot convert."""
    return (
        f"{user_model.path} is a TensorFlow model without a model.onnx, and this image cannot convert it. "
        f"Use the image {IMAGE}."
    )


def _visible(model_dir: Path, pattern: str) -> list[Path]:
    files = (path for path in sorted(model_dir.rglob(pattern)) if path.is_file())
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(model_dir).parts)]


def _name(path: Path, model_dir: Path) -> str:
    """Return the name that the user knows, such as `model/1` for /opt/ml/model/1."""
    return path.relative_to(model_dir.parent).as_posix()


def tensorflow_python() -> Path | None:
    """Return the interpreter of a neighbouring environment with TensorFlow, or None."""
    for name in _ENVIRONMENTS:
        folder = Path(sys.prefix).parent / name
        if any(folder.glob("lib/python*/site-packages/tensorflow/__init__.py")):
            return folder / "bin" / "python"
    return None


def convert(user_model: UserModel, out: Path, tensorflow: Path, serving: Path) -> str:
    """Convert the model to the format of `serve` in the empty folder `out`, and return a message for the log.

    `tensorflow` and `serving` are the interpreters with TensorFlow and ONNX Runtime. Raises NotConverted if the model
    cannot be converted or the result disagrees with TensorFlow, and ArtifactError if TensorFlow cannot load the model.
    """
    export(user_model, out, tensorflow)
    code, message = _run([str(serving), "-m", "serve.user_model.compare", "--folder", str(out)])
    if code:
        raise _failure(code, message)
    return f"{user_model.name} was converted: {message}"


def export(user_model: UserModel, out: Path, tensorflow: Path, only_saved_model: bool = False) -> None:
    """Run TensorFlow's part of `convert`. With `only_saved_model`, only convert a .keras file to a SavedModel."""
    command = [str(tensorflow), "-m", "serve.user_model.convert", "--source", str(user_model.path)]
    command += ["--name", user_model.name, "--out", str(out)]
    if only_saved_model:
        command.append("--only-saved-model")
    code, message = _run(command)
    if code == 2:
        raise ArtifactError(message)
    if code:
        raise _failure(code, message)


def _failure(code: int, message: str) -> NotConverted:
    return Killed(message) if code == -signal.SIGKILL else NotConverted(message)


def _run(command: list[str]) -> tuple[int, str]:
    """Run a process; return its exit code and its last line, which comes after any warnings from libraries."""
    program = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=program, capture_output=True, check=False, start_new_session=True)
    lines = (done.stderr if done.returncode else done.stdout).decode("utf-8", "replace").strip().splitlines()
    message = lines[-1] if lines else ""
    if done.returncode < 0:
        message = f"the process was ended by signal {-done.returncode}"
    return done.returncode, message[-_MAX_MESSAGE:]
