"""Runs a model of the task `tensors` with ONNX Runtime, with one graph per signature."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from serve.artifact import ArtifactError
from serve.engine.runtime import first_line, session
from serve.http.errors import BadRequest, from_body
from serve.user_model import signature
from serve.user_model.signature import TensorModel


class Graphs:
    """The loaded graphs of a model.json. `run` is thread-safe."""

    def __init__(self, model_dir: Path, threads: int, keep_memory: bool = True) -> None:
        """Load the graphs; see serve.engine.runtime.session for the options. Raises ArtifactError for a broken file."""
        self.model: TensorModel = signature.read(model_dir)
        self._sessions = {}
        for graph in {described.graph for described in self.model.signatures.values()}:
            path = model_dir / graph
            try:
                self._sessions[graph] = session(path, threads, keep_memory)
            except Exception as error:  # ONNX Runtime has about fifteen exception types without a common base class
                raise ArtifactError(
                    f"{path} cannot be loaded: {first_line(error)}. Train again to write it."
                ) from error
        for name in self.model.signatures:
            self._check_names(name)

    def _check_names(self, name: str) -> None:
        """Raise ArtifactError if a signature's graph lacks an output or needs other inputs."""
        described = self.model.signatures[name]
        graph_outputs, graph_inputs = self._names(described.graph)
        missing = {tensor.name for tensor in described.outputs} - set(graph_outputs)
        if missing or set(graph_inputs) - {tensor.name for tensor in described.inputs}:
            raise ArtifactError(
                f"{described.graph} has the inputs {', '.join(graph_inputs)} and the outputs "
                f"{', '.join(graph_outputs)}, which do not match the signature {name!r} in model.json. Use the files "
                "of the same training job."
            )

    def _names(self, graph: str) -> tuple[list[str], list[str]]:
        loaded = self._sessions[graph]
        return [node.name for node in loaded.get_outputs()], [node.name for node in loaded.get_inputs()]

    def run(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the outputs of the signature `name` by name. Raises BadRequest if the model rejects the inputs."""
        described = self.model.signatures[name]
        _, graph_inputs = self._names(described.graph)
        outputs = [tensor.name for tensor in described.outputs]
        try:
            values = self._sessions[described.graph].run(outputs, {key: inputs[key] for key in graph_inputs})
        except Exception as error:  # see above; the graph was checked, so the request is at fault
            raise BadRequest(f"The model cannot compute this input: {from_body(first_line(error))}.") from error
        return dict(zip(outputs, values, strict=True))
