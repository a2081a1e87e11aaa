"""What a user's script left in the model folder, and its conversion to what the server reads.

Standard library only; the work is done by processes of its own, in the environments that have TensorFlow and ONNX
Runtime, so that nothing of it stays in the server.
"""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from serve.artifact import MODEL_ONNX, ArtifactError

SAVED_MODEL = "saved_model.pb"
EXPORTED = "saved_model"
"""The folder that a conversion makes of a .keras file, in the folder of what it has written."""
IMAGE = "image-classification-tensorflow"
_ENVIRONMENTS = ("train", "tensorflow")  # in the image, and on a developer's machine
_SAID = 400  # characters of what a process says last


class NotConverted(Exception):
    """The model cannot be served by ONNX Runtime; the message says why."""


class Killed(NotConverted):
    """The conversion was killed, most often by the kernel for its memory."""


@dataclass(frozen=True)
class UserModel:
    """A model as a script left it: the folder of a SavedModel or a .keras file, and what messages call it."""

    path: Path
    name: str


def find(model_dir: Path, beside_graph: bool = False) -> UserModel | None:
    """The model that a script left in `model_dir`, or None.

    Where there is a model.onnx nothing is left to convert, so None, unless one `beside_graph` is asked for. Of
    SavedModels in numbered folders, at any depth, it is that of the highest number. Raises ArtifactError where it is
    not clear which one is meant.
    """
    if not model_dir.is_dir() or ((model_dir / MODEL_ONNX).exists() and not beside_graph):
        return None
    folders = [path.parent for path in _visible(model_dir, SAVED_MODEL)]
    numbered = [folder for folder in folders if folder.name.isdecimal() and folder != model_dir]
    if len({folder.parent for folder in numbered}) == 1:
        numbered = [max(numbered, key=lambda folder: int(folder.name))]
    files = _visible(model_dir, "*.keras")
    files = [path for path in files if path.name == "model.keras"] or files
    for found in (numbered, folders, files):
        if len(found) > 1:
            names = ", ".join(sorted(_name(path, model_dir) for path in found)[:5])
            raise ArtifactError(f"{model_dir} holds {len(found)} models ({names}): keep the one to be served.")
        if found:
            return UserModel(found[0], _name(found[0], model_dir))
    return None


def refuse_handlers(model_dir: Path) -> None:
    """Raise ArtifactError for handlers of SageMaker's TensorFlow image: ignored, they would change answers unseen."""
    handlers = model_dir / "code" / "inference.py"
    if handlers.is_file():
        raise ArtifactError(
            f"{handlers} would not be run: this image has no support for handlers yet. Remove it to serve the model "
            "alone, and do in the client what its handlers do."
        )


def no_tensorflow(left: UserModel) -> str:
    """The sentence about a model that this image cannot convert."""
    return (
        f"{left.path} is a model of TensorFlow's without a model.onnx, and this image has no TensorFlow to convert it. "
        f"Serve it with the image {IMAGE}."
    )


def _visible(model_dir: Path, pattern: str) -> list[Path]:
    found = (path for path in sorted(model_dir.rglob(pattern)) if path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(model_dir).parts)]


def _name(path: Path, model_dir: Path) -> str:
    """The model as its user knows it: `model/1` for /opt/ml/model/1."""
    return path.relative_to(model_dir.parent).as_posix()


def tensorflow_python() -> Path | None:
    """The interpreter of an environment beside this one that has TensorFlow, or None."""
    for name in _ENVIRONMENTS:
        folder = Path(sys.prefix).parent / name
        if any(folder.glob("lib/python*/site-packages/tensorflow/__init__.py")):
            return folder / "bin" / "python"
    return None


def convert(left: UserModel, out: Path, tensorflow: Path, serving: Path) -> str:
    """Write what `serve` reads into the empty folder `out`, and return a sentence about it.

    `tensorflow` and `serving` are the interpreters that have TensorFlow and ONNX Runtime. Raises NotConverted when
    there is no such graph or it disagrees with TensorFlow, ArtifactError when TensorFlow itself cannot load the model.
    """
    export(left, out, tensorflow)
    code, said = _run([str(serving), "-m", "serve.user_model.compare", "--folder", str(out)])
    if code:
        raise _failure(code, said)
    return f"{left.name} is converted: {said}"


def export(left: UserModel, out: Path, tensorflow: Path, only_saved_model: bool = False) -> None:
    """The part of `convert` that TensorFlow does. With `only_saved_model` a .keras file becomes a SavedModel alone."""
    command = [str(tensorflow), "-m", "serve.user_model.convert", "--source", str(left.path), "--name", left.name]
    code, said = _run([*command, "--out", str(out), *["--only-saved-model"] * only_saved_model])
    if code == 2:
        raise ArtifactError(said)
    if code:
        raise _failure(code, said)


def _failure(code: int, said: str) -> NotConverted:
    return Killed(said) if code == -signal.SIGKILL else NotConverted(said)


def _run(command: list[str]) -> tuple[int, str]:
    """A process's exit code and the last line that it has written; warnings of its libraries stand before it."""
    program = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=program, capture_output=True, check=False, start_new_session=True)
    lines = (done.stderr if done.returncode else done.stdout).decode("utf-8", "replace").strip().splitlines()
    said = lines[-1] if lines else ""
    if done.returncode < 0:
        said = f"the process was ended by signal {-done.returncode}"
    return done.returncode, said[-_SAID:]
