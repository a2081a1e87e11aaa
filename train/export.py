"""The end of a job: the ONNX graph, and the proof that what will be served is what was trained."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from train.errors import TrainError
from train.log import LOG

# Batch of the exported input: any.
_BATCH = "N"
OUTPUT = "probabilities"  # of classifiers, their only one


def serving_python() -> Path:
    """Return the interpreter of the serving environment, which lies beside the training one."""
    return Path(sys.prefix).parent / "serve" / "bin" / "python"


def replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` make the file under a temporary name and rename it: it is there whole or not at all.

    Raises TrainError naming the file when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise TrainError(
            f"{path} could not be written: {error.strerror or error}; is the volume full? A larger "
            "volume_size may be needed"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def to_onnx(
    symbol: Any,
    parameters: dict[str, Any],
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
        mxnet.onnx.export_model(
            symbol, named, [(1, *shape)], np.float32, str(target), dynamic=True, dynamic_input_shapes=free
        )
        model = onnx.load(str(target))
        _tidy(model, input_name, outputs)
        onnx.checker.check_model(model)
        onnx.save(model, str(target))

    replace(path, write)


def _tidy(model: Any, input_name: str, outputs: Sequence[str]) -> None:
    """Take the weights out of the graph's inputs, where ONNX Runtime would not fold them, and name the outputs."""
    graph = model.graph
    _keep(graph.input, lambda value: value.name == input_name)
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
    tensors: np.ndarray,
    expected: dict[str, np.ndarray],
    files: Sequence[bytes],
    metric: Callable[[list[np.ndarray]], float],
    logged: float,
    tolerance: float = 1e-4,
) -> None:
    """Run the two checks of a finished artifact in the serving environment; raises TrainError if either fails.

    (a) `model.onnx` on `tensors` float32 (N, C, H, W) against the framework's outputs `expected`, by name: the largest
    absolute difference is at most `tolerance`. (b) `files`, as bytes, through the server's own code: `metric` of the
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
        np.save(work / "tensors.npy", tensors)
        paths = [str(work / f"{number}.image") for number in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            Path(path).write_bytes(data)
        (work / "files.json").write_text(json.dumps(paths))
        _run_check(python, model_dir, work)
        found, answers = np.load(work / "tensor_outputs.npz"), np.load(work / "file_outputs.npz")
        # np.max, because Python's max may drop a NaN.
        difference = float(np.max([np.abs(found[name] - wanted).max() for name, wanted in expected.items()]))
        served = metric([answers[str(number)] for number in range(len(files))])
    LOG.info(
        "Check of model.onnx: largest difference from MXNet %.2g on %d inputs; %.6f by the server's "
        "code on %d files, %.6f logged",
        difference,
        len(tensors),
        served,
        len(files),
        logged,
    )
    if not difference <= tolerance:
        raise TrainError(
            f"model.onnx differs from the trained network by {difference:.3g}, more than {tolerance:g}: "
            "the artifact must not be served; please report this with the log"
        )
    if not abs(served - logged) <= 0.01:
        raise TrainError(
            f"the server's code reaches {served:.4f} on {len(files)} validation files where training "
            f"logged {logged:.4f}: the artifact must not be served; please report this with the log"
        )


def _run_check(python: Path, model_dir: Path, work: Path) -> None:
    command = [str(python), "-m", "serve.check", "--model-dir", str(model_dir), "--work", str(work)]
    program = Path(__file__).resolve().parent.parent
    # A session of its own: Ctrl-C in a terminal goes to the whole group, and this job's end is to be finished.
    done = subprocess.run(command, cwd=program, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode:
        raise TrainError(
            f"the check of the artifact failed with exit code {done.returncode}: {done.stderr.strip()[-600:]}"
        )
