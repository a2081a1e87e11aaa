"""The model folder of a job: write weights during training; export, describe and check the graph at the end."""

import platform
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol

import serve
from serve import artifact
from serve.artifact import MODEL_JSON, MODEL_ONNX
from train.data.samples import Sample
from train.errors import TrainError
from train.files import names, replace, writing
from train.hyperparameter_types import CommonHyperparameters
from train.learner import Best, K, Lines
from train.log import LOG
from train.quantization import workflow
from train.quantization.workflow import Reference, Request
from train.verify import Check, verify

_NAME = "sagemaker-vision-containers"


class DataSummary(Protocol):
    """The properties of the data that model.json describes."""

    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def spec(self) -> artifact.InputSpec: ...
    @property
    def sizes(self) -> tuple[int, int]: ...
    @property
    def train(self) -> Sequence[Sample[object]]: ...
    @property
    def validation(self) -> Sequence[Sample[object]]: ...


class Model(ABC, Generic[K]):
    """Defines the files in an algorithm's model folder: those of the built-in algorithm and those for the server.

    `network` is the network's name, and `output` is the type of its output (see serve.artifact).
    """

    task: ClassVar[str]
    modules: ClassVar[tuple[Any, ...]]
    """The modules whose versions are in model.json."""
    weights: ClassVar[str]
    """The file name of an epoch's weights, with `{}` for the epoch, counted from 1."""
    last: ClassVar[str | None] = None
    """The file name of the last epoch's weights, for algorithms that keep them as well as the best ones."""
    checkpoint_frequency: int | None = None
    """Also keep the weights of every nth epoch, even if it is not the best."""

    def __init__(self, data: DataSummary, hp: CommonHyperparameters, network: str, output: str) -> None:
        self._data, self._hp, self._network, self._output = data, hp, network, output

    @abstractmethod
    def write_weights(self, path: Path) -> None:
        """Write the current weights."""

    @abstractmethod
    def read_weights(self, path: Path) -> None:
        """Read weights that `write_weights` wrote."""

    def companions(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the built-in's other files next to the weights: file names and functions that write the files."""
        return {}

    @abstractmethod
    def export(self, path: Path) -> None:
        """Write the network as an ONNX graph."""

    def describe(self, metrics: dict[str, float]) -> artifact.Artifact:
        """Return the content of model.json; `metrics` are those of the best epoch."""
        versions = {module.__name__: module.__version__ for module in self.modules}
        return artifact.Artifact(
            task=self.task,
            network=self._network,
            class_names=self._data.class_names,
            input=self._data.spec,
            output=self._output,
            hyperparameters=self._hp.values(),
            metrics=metrics,
            versions={_NAME: serve.__version__, **versions, "python": platform.python_version()},
        )

    def identity(self) -> dict[str, Any]:
        """Return the properties that a checkpoint and the job that resumes from it must have in common."""
        return {
            "network": self._network,
            "classes": list(self._data.class_names),
            "training images": self._data.sizes[0],
            "validation images": self._data.sizes[1],
            "hyperparameters": self._hp.values(),
        }

    def measure(self, best: Best[K]) -> dict[str, float]:
        """Return additional metrics that are computed only for the best epoch."""
        return {}

    @abstractmethod
    def check(self, best: Best[K]) -> Check:
        """Return the inputs and expected outputs of the final checks. The graph and model.json are already written."""

    def quantization(self) -> Request | None:
        """Return the settings for an int8 graph, or None if `quantize` is not set."""
        if self._hp.quantize is None:
            return None
        return Request(self._data.train, self._data.validation, self._hp.seed, self._hp.quantize_tolerance)


class ModelFolder(Generic[K]):
    """Writes the files of a model folder, each atomically.

    Only the first host writes files; on the other hosts, `writes` is False.
    """

    def __init__(self, folder: Path, model: Model[K], lines: Lines[K], writes: bool = True) -> None:
        self._folder, self._model, self._lines, self._writes = folder, model, lines, writes

    def save(self, epoch: int, improved: bool, before: int | None) -> None:
        """Write the weights of `epoch` if it `improved` or is due to be kept. Remove the previous best, `before`."""
        if not self._writes or not (improved or self._is_kept(epoch)):
            return
        path = self._path(epoch)
        replace(path, self._model.write_weights)
        self._lines.saved(path, epoch)
        if not improved:
            return
        if before is None:
            self._write_companions()
        elif self._path(before) != path and not self._is_kept(before):
            self._path(before).unlink()

    def weights(self, done: int, best: int) -> dict[int, Path]:
        """Return the weight files by epoch, from 1, that exist after `done` epochs if `best`, from 0, is the best."""
        kept = {epoch for epoch in range(done) if self._is_kept(epoch)} | {best}
        return {epoch + 1: self._path(epoch) for epoch in sorted(kept)}

    def restore(self, weights: Mapping[int, Callable[[Path], object]]) -> None:
        """Restore the weight files of an interrupted job and their companions.

        `weights` has a function for each epoch, from 1, that writes its file. Raises TrainError if a file cannot be
        written.
        """
        if not self._writes:
            return
        for path in self._folder.glob(re.sub("{.*}", "*", self._model.weights)):
            path.unlink()  # may belong to an epoch that will be trained again
        for epoch, write in weights.items():
            replace(self._path(epoch - 1), write)
        self._write_companions()

    def save_last(self) -> None:
        """Write the weights of the last epoch, if the built-in algorithm does."""
        if self._writes and self._model.last:
            path = self._folder / self._model.last
            replace(path, self._model.write_weights)
            self._lines.saved_last(path)

    def finish(self, best: Best[K]) -> None:
        """Export and describe the best epoch, and verify that the serving code reproduces the logged metric.

        Raises TrainError if it does not, or if a file cannot be written.
        """
        if not self._writes:
            return
        self._model.read_weights(self._path(best.epoch))
        replace(self._folder / MODEL_ONNX, self._model.export)
        metrics = self._model.measure(best)
        self._lines.exported(best, metrics)
        with writing(self._folder / MODEL_JSON):
            artifact.write(self._model.describe({"epoch": best.epoch, **best.metrics, **metrics}), self._folder)
        LOG.info("Checking the artifact with the serving code")
        check = self._model.check(best)
        predictions = verify(self._folder, check)
        request = self._model.quantization()
        if request is not None:
            reference = Reference(check.files, predictions, len(predictions), check.metric)
            workflow.quantize(self._folder, reference, request)
        self._lines.finished(best, self._folder, names(self._folder))

    def rescue(self, best: Best[K] | None) -> str:
        """Finish the best epoch after a divergence, and return a description of the result.

        If the checks fail, only the native weights are kept, because the model must not be served.
        """
        if best is None:
            return "no epoch was finished, so there is no model"
        try:
            self.finish(best)
        except TrainError as error:
            LOG.error("The best epoch so far, %d, cannot be served: %s", best.epoch, error)
            for name in (MODEL_ONNX, MODEL_JSON):
                (self._folder / name).unlink(missing_ok=True)
            return f"epoch {best.epoch}, the best so far, failed the final checks: only its native weights are kept"
        return f"epoch {best.epoch}, the best so far, is kept"

    def _write_companions(self) -> None:
        for name, write in self._model.companions().items():
            replace(self._folder / name, write)

    def _path(self, epoch: int) -> Path:
        return self._folder / self._model.weights.format(epoch + 1)

    def _is_kept(self, epoch: int) -> bool:
        every = self._model.checkpoint_frequency
        return every is not None and (epoch + 1) % every == 0
