"""`python -m serve.user_model.compare`: the graphs that `convert` has written, against TensorFlow's own answers."""

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
"""Largest difference of a number: absolute, and as a share of TensorFlow's."""


class Disagreement(Exception):
    """A graph does not say what TensorFlow says; the message names the output and by how much."""


def main() -> None:
    """Compare every check in --folder and remove it. Exits 1 with one sentence on stderr when one disagrees."""
    parser = argparse.ArgumentParser(prog="python -m serve.user_model.compare", description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="what serve.user_model.convert wrote into")
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
    """The largest difference of a number of the signature's outputs. Raises Disagreement when it is too large."""
    arrays = np.load(file, allow_pickle=False)
    inputs = {key.removeprefix("input:"): arrays[key] for key in arrays.files if key.startswith("input:")}
    found = graphs.run(name, inputs)
    worst = 0.0
    for key, value in found.items():
        wanted = arrays[f"output:{key}"]
        if (value.dtype, value.shape) != (wanted.dtype, wanted.shape):
            raise Disagreement(
                f"output {key!r} of signature {name!r} is {value.dtype} {value.shape}, TensorFlow's "
                f"{wanted.dtype} {wanted.shape}"
            )
        if not np.issubdtype(wanted.dtype, np.floating):
            same = np.array_equal(value, wanted)
        else:
            same = np.allclose(value, wanted, RELATIVE, ABSOLUTE, equal_nan=True)
            worst = max(worst, float(np.nan_to_num(np.abs(value - wanted)).max(initial=0)))
        if not same:
            raise Disagreement(f"output {key!r} of signature {name!r} differs from TensorFlow's")
    return worst


if __name__ == "__main__":
    main()
