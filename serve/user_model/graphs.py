"""A model of the task `tensors` under ONNX Runtime: a graph for each signature."""

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
    """The graphs that model.json names, loaded. `run` may be called by many threads at once."""

    def __init__(self, model_dir: Path, threads: int, keep_memory: bool = True) -> None:
        """Load them, with options as for serve.engine.runtime.session. Raises ArtifactError for a broken file."""
        self.model: TensorModel = signature.read(model_dir)
        self._sessions = {}
        for graph in {one.graph for one in self.model.signatures.values()}:
            path = model_dir / graph
            try:
                self._sessions[graph] = session(path, threads, keep_memory)
            except Exception as error:  # ONNX Runtime has some fifteen kinds of error and no base class for them
                raise ArtifactError(
                    f"{path} cannot be loaded: {first_line(error)}. Train again to write it."
                ) from error
        for name, one in self.model.signatures.items():
            self._require(name, {tensor.name for tensor in one.outputs}, {tensor.name for tensor in one.inputs})

    def _require(self, name: str, outputs: set[str], inputs: set[str]) -> None:
        """Raise ArtifactError when a signature's graph lacks an output, or asks for more than its inputs."""
        graph = self.model.signatures[name].graph
        has, asks = self._names(graph)
        if outputs - set(has) or set(asks) - inputs:
            raise ArtifactError(
                f"{graph} takes {', '.join(asks)} and gives {', '.join(has)}, model.json says otherwise of {name!r}. "
                "Keep the files of one training together."
            )

    def _names(self, graph: str) -> tuple[list[str], list[str]]:
        found = self._sessions[graph]
        return [one.name for one in found.get_outputs()], [one.name for one in found.get_inputs()]

    def run(self, name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs of the signature `name`, by name. Raises BadRequest for inputs that it cannot compute."""
        one = self.model.signatures[name]
        _, asks = self._names(one.graph)
        outputs = [tensor.name for tensor in one.outputs]
        try:
            found = self._sessions[one.graph].run(outputs, {key: inputs[key] for key in asks})
        except Exception as error:  # see above; the weights are proven, so it is the request
            raise BadRequest(f"The model cannot compute this input: {from_body(first_line(error))}.") from error
        return dict(zip(outputs, found, strict=True))
