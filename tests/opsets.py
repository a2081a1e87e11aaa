"""Runs ONNX graphs in the serving environment, to compare them before and after `train.graph.lower_opset`."""

import subprocess
from pathlib import Path

import numpy as np

from tests.environments import python

_COMPUTE = """
import sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
np.savez(sys.argv[3], *session.run(None, {session.get_inputs()[0].name: np.load(sys.argv[2])}))
"""


def outputs(graph: Path, tensors: np.ndarray) -> list[np.ndarray]:
    """Return all outputs of a graph with one input, float32 (N, C, H, W)."""
    input_file, output_file = graph.with_suffix(".npy"), graph.with_suffix(".npz")
    np.save(input_file, tensors)
    subprocess.run([python("serve"), "-c", _COMPUTE, graph, input_file, output_file], check=True)
    with np.load(output_file) as arrays:
        return list(arrays.values())
