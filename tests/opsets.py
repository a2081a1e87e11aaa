"""Graphs before and after `train.graph.lower_opset`, computed by ONNX Runtime in the environment that serves."""

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
    """Return all outputs of a graph for its only input, float32 (N, C, H, W)."""
    given, found = graph.with_suffix(".npy"), graph.with_suffix(".npz")
    np.save(given, tensors)
    subprocess.run([python("serve"), "-c", _COMPUTE, graph, given, found], check=True)
    with np.load(found) as arrays:
        return list(arrays.values())
