"""`python -m serve.user_model.compare`: compares the graphs that `convert` has written with TensorFlow's outputs."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from serve import machine
from serve.artifact import ArtifactError
from serve.http.errors import BadRequest
from serve.user_model.graphs import Graphs
from serve.words import plural

ABSOLUTE, RELATIVE = 1e-4, 1e-3
"""Tolerances: the absolute difference, and the difference relative to TensorFlow's value."""


class Disagreement(Exception):
    """A graph's output differs from TensorFlow's. The message names the output."""


def main() -> None:
    """Run and remove the checks in --folder. Exits with code 1 and a one-sentence message if one fails."""
    parser = argparse.ArgumentParser(prog="python -m serve.user_model.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="the output folder of serve.user_model.convert")
    folder = parser.parse_args().folder
    machine.be_killed_first(1000)
    checks = json.loads((folder / "checks.json").read_text(encoding="utf-8"))
    try:
        graphs = Graphs(folder, machine.cpu_count())
        worst = max([compare(graphs, check["signature"], folder / check["file"]) for check in checks], default=0.0)
    except (ArtifactError, BadRequest, Disagreement) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    for check in checks:
        (folder / check["file"]).unlink()
    (folder / "checks.json").unlink()
    print(f"{plural(len(checks), 'check')}, largest difference from TensorFlow {worst:.2g}")


def compare(graphs: Graphs, name: str, file: Path) -> float:
    """Return the largest difference in the signature's outputs. Raises Disagreement if it is too large."""
    arrays = np.load(file, allow_pickle=False)
    inputs = {key.removeprefix("input:"): arrays[key] for key in arrays.files if key.startswith("input:")}
    outputs = graphs.run(name, inputs)
    worst = 0.0
    for key, value in outputs.items():
        expected = arrays[f"output:{key}"]
        if (value.dtype, value.shape) != (expected.dtype, expected.shape):
            raise Disagreement(
                f"output {key!r} of signature {name!r} is {value.dtype} {value.shape}, but {expected.dtype} "
                f"{expected.shape} in TensorFlow"
            )
        if not np.issubdtype(expected.dtype, np.floating):
            same = np.array_equal(value, expected)
        else:
            same = np.allclose(value, expected, RELATIVE, ABSOLUTE, equal_nan=True)
            worst = max(worst, float(np.nan_to_num(np.abs(value - expected)).max(initial=0)))
        if not same:
            raise Disagreement(f"output {key!r} of signature {name!r} differs from TensorFlow's")
    return worst


if __name__ == "__main__":
    main()
