"""The end of a job: the ONNX graph, and the proof that what will be served is what was trained."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serve.preprocess import UnreadableImage
from serve.words import plural
from train.data.samples import Sample
from train.errors import TrainError, UserError
from train.log import LOG

if TYPE_CHECKING:
    import mxnet as mx
    import onnx

# Batch of the exported input: any.
_BATCH = "N"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# MXNet does not say why it could not write; with fewer bytes free than this it was for want of them.
_FULL = 1_000_000
OUTPUT = "probabilities"  # of classifiers, their only one


def serving_python() -> Path:
    """Return the interpreter of the serving environment, which lies beside the training one."""
    return Path(sys.prefix).parent / "serve" / "bin" / "python"


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the file under a temporary name and rename it: it is there whole or not at all.

    Raises TrainError naming the file when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with writing(path):
            write(temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # where nothing can be written nothing can be removed, and that was said already
            temporary.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise TrainError in place of an OSError: `path` could not be written, and why, first of all a full disk."""
    try:
        yield
    except OSError as error:
        raise TrainError(f"{path} could not be written: {_why(path, error)}") from error


def _why(path: Path, error: OSError) -> str:
    """Say what kept `path` from being written; the file that was begun must still be there."""
    told = error.strerror or str(error)
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        return told
    if error.errno in _NO_SPACE or free < _FULL:
        return f"the disk is full ({free} bytes free): set a larger volume_size, or free space there ({told})"
    return f"{told} ({free / 1e9:.1f} GB are free there)"


def names(folder: Path) -> str:
    """Return the names of the files that a job wrote to `folder`, for its last line."""
    return ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))


def to_onnx(
    symbol: "mx.sym.Symbol",
    parameters: "Mapping[str, mx.nd.NDArray]",
    input_name: str,
    shape: Sequence[int],
    path: Path,
    outputs: Sequence[str] = (OUTPUT,),
) -> None:
    """Write an MXNet symbol as an ONNX graph whose outputs are called `outputs`, in the symbol's order.

    `parameters` maps `arg:NAME` and `aux:NAME` to NDArrays; `shape` is the input's without the batch, which stays
    free in the graph.
    """
    import mxnet.onnx
    import onnx

    def write(target: Path) -> None:
        free = [(_BATCH, *shape)]
        named = {name.split(":", 1)[1]: value for name, value in parameters.items()}
        with quiet(logging.getLogger()):  # it tells the root logger our temporary name
            mxnet.onnx.export_model(
                symbol, named, [(1, *shape)], np.float32, str(target), dynamic=True, dynamic_input_shapes=free
            )
        model = onnx.load(str(target))
        tidy(model, input_name, outputs)
        onnx.checker.check_model(model)
        onnx.save(model, str(target))

    replace(path, write)


@contextmanager
def quiet(logger: logging.Logger) -> Iterator[None]:
    """Let only warnings and errors through."""
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


def tidy(model: "onnx.ModelProto", input_name: str, outputs: Sequence[str]) -> None:
    """Take the weights out of an ONNX graph's inputs, where ONNX Runtime would not fold them, and name the outputs.

    The batch, the first axis of the input `input_name` and of every output, is left free.
    """
    graph = model.graph
    _keep(graph.input, lambda value: value.name == input_name)
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = _BATCH
    used = {name for node in graph.node for name in node.input}
    _keep(graph.initializer, lambda weight: weight.name in used)
    renamed = {value.name: name for value, name in zip(graph.output, outputs, strict=True)}
    for value in graph.output:
        value.name = renamed[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = _BATCH
    for node in graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.input[:] = [renamed.get(name, name) for name in node.input]


def _keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    kept = [value for value in field if wanted(value)]
    del field[:]
    field.extend(kept)


def verify(
    model_dir: Path,
    tensors: NDArray[np.float32],
    expected: dict[str, NDArray[np.float32]],
    files: Sequence[Sample[object]],
    metric: Callable[[list[NDArray[Any]]], float],
    logged: float,
    tolerance: float = 1e-4,
    framework: str = "MXNet",
) -> None:
    """Run the two checks of a finished artifact in the serving environment; raises TrainError if either fails.

    Raises UserError when a file can be read no more.

    (a) `model.onnx` on `tensors` float32 (N, C, H, W) against `framework`'s outputs `expected`, by name: the largest
    absolute difference is at most `tolerance`. (b) the bytes of `files` through the server's own code: `metric` of the
    answers, one array for each file, is within 0.01 of `logged`, the framework's metric on the same files.
    """
    python = serving_python()
    if not python.exists():
        raise TrainError(
            f"{python} is missing: the artifact is checked by the server's own code, in the environment "
            f"that lies beside {sys.prefix}"
        )
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        work = Path(folder)
        with writing(work):
            np.save(work / "tensors.npy", tensors)
            names = _lay_out(files, work)
        _run_check(python, model_dir, work, names)
        found, answers = np.load(work / "tensor_outputs.npz"), np.load(work / "file_outputs.npz")
        # np.max, because Python's max may drop a NaN.
        difference = float(np.max([np.abs(found[name] - wanted).max() for name, wanted in expected.items()]))
        served = metric([answers[str(number)] for number in range(len(files))])
    LOG.info(
        "Check of model.onnx: largest difference from %s %.2g on %s; %.6f by the server's code on %s, %.6f logged",
        *(framework, difference, plural(len(tensors), "input"), served, plural(len(files), "file"), logged),
    )
    if not difference <= tolerance:
        raise TrainError(
            f"model.onnx differs from the trained network by {difference:.3g}, more than {tolerance:g}: "
            "the artifact must not be served; please report this with the log"
        )
    if not abs(served - logged) <= 0.01:
        raise TrainError(
            f"the server's code reaches {served:.4f} on {plural(len(files), 'validation file')} where training "
            f"logged {logged:.4f}: the artifact must not be served; please report this with the log"
        )


def _lay_out(files: Sequence[Sample[object]], work: Path) -> dict[str, str]:
    """Write the samples' bytes and files.json into `work`; return the names of the samples by the paths of the copies.

    A sample may be a record in a .rec file, which the server's code does not read; so all are copied.
    """
    names = {str(work / f"{number}.image"): sample.name for number, sample in enumerate(files)}
    for path, sample in zip(names, files, strict=True):
        try:
            Path(path).write_bytes(sample.read())
        except UnreadableImage as error:
            raise UserError(
                f"validation image {sample.name} {error}, though it could be read when training began: the channel "
                "must stay as it is until the job ends"
            ) from None
    (work / "files.json").write_text(json.dumps(list(names)))
    return names


def _run_check(python: Path, model_dir: Path, work: Path, names: Mapping[str, str] | None = None) -> None:
    command = [str(python), "-m", "serve.check", "--model-dir", str(model_dir), "--work", str(work)]
    program = Path(__file__).resolve().parent.parent
    # A session of its own: Ctrl-C in a terminal goes to the whole group, and this job's end is to be finished.
    done = subprocess.run(command, cwd=program, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        said = done.stderr.strip()[-600:]
        for path, name in (names or {}).items():
            if path in said:  # the user knows the channel's file, not our copy of it
                told = said.removeprefix("serve.check: ").replace(path, name)
                raise TrainError(f"the server's code cannot read a validation image: {told}")
        raise TrainError(f"the check of the artifact failed with exit code {done.returncode}: {said}")
