"""The model folder of a job: weights as training goes on; at its end the graph, its description and two checks."""

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
from train.quantization import closing
from train.quantization.closing import Reference, Request
from train.verify import Check, verify

_NAME = "sagemaker-vision-containers"


class DataSummary(Protocol):
    """What a description says of the data."""

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
    """What an algorithm's model folder holds: the built-in's files, and what the server needs.

    `network` is the network's name, `output` what its numbers mean: see serve.artifact.
    """

    task: ClassVar[str]
    modules: ClassVar[tuple[Any, ...]]
    """Those whose versions the description names."""
    weights: ClassVar[str]
    """The file of an epoch's weights; `{}` in it stands for the epoch, counted from 1."""
    last: ClassVar[str | None] = None
    """The file that holds the weights after the last epoch, for algorithms that keep them beside the best ones."""
    checkpoint_frequency: int | None = None
    """Every so many epochs the weights are kept though they are not the best."""

    def __init__(self, data: DataSummary, hp: CommonHyperparameters, network: str, output: str) -> None:
        self._data, self._hp, self._network, self._output = data, hp, network, output

    @abstractmethod
    def write_weights(self, path: Path) -> None:
        """Write the weights as they are now."""

    @abstractmethod
    def read_weights(self, path: Path) -> None:
        """Go back to weights that `write_weights` has written."""

    def companions(self) -> Mapping[str, Callable[[Path], object]]:
        """Return what the built-in leaves beside the weights: by file name, what writes it."""
        return {}

    @abstractmethod
    def export(self, path: Path) -> None:
        """Write the network as an ONNX graph."""

    def describe(self, metrics: dict[str, float]) -> artifact.Artifact:
        """Return what model.json says; `metrics` are those of the best epoch."""
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
        """Return by name what a checkpoint and the job that goes on from it must have in common."""
        return {
            "network": self._network,
            "classes": list(self._data.class_names),
            "training images": self._data.sizes[0],
            "validation images": self._data.sizes[1],
            "hyperparameters": self._hp.values(),
        }

    def measure(self, best: Best[K]) -> dict[str, float]:
        """Return metrics that only the best epoch has."""
        return {}

    @abstractmethod
    def check(self, best: Best[K]) -> Check:
        """Return what the closing checks compare. Called when the graph and its description are written."""

    def quantization(self) -> Request | None:
        """Return what an int8 graph is to be made with; None when the job was not asked for one."""
        if self._hp.quantize is None:
            return None
        return Request(self._data.train, self._data.validation, self._hp.seed, self._hp.quantize_tolerance)


class ModelFolder(Generic[K]):
    """Writes what a model's folder holds; each file is there whole or not at all.

    Of several hosts the first one alone writes: for the others `writes` is False.
    """

    def __init__(self, folder: Path, model: Model[K], lines: Lines[K], writes: bool = True) -> None:
        self._folder, self._model, self._lines, self._writes = folder, model, lines, writes

    def save(self, epoch: int, improved: bool, before: int | None) -> None:
        """Write the weights of `epoch` if it has improved on the best epoch `before`, whose file goes, or is kept."""
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
        """Return by epoch, from 1, the files of weights that are there after `done` epochs, with `best` from 0."""
        kept = {epoch for epoch in range(done) if self._is_kept(epoch)} | {best}
        return {epoch + 1: self._path(epoch) for epoch in sorted(kept)}

    def restore(self, weights: Mapping[int, Callable[[Path], object]]) -> None:
        """Put back what an interrupted job had written: by epoch, from 1, what writes its weights, and the companions.

        Raises TrainError when a file cannot be written.
        """
        if not self._writes:
            return
        for path in self._folder.glob(re.sub("{.*}", "*", self._model.weights)):
            path.unlink()  # it may be of an epoch that will be trained again
        for epoch, write in weights.items():
            replace(self._path(epoch - 1), write)
        self._write_companions()

    def save_last(self) -> None:
        """Write the weights as they are after the last epoch, where the built-in does."""
        if self._writes and self._model.last:
            path = self._folder / self._model.last
            replace(path, self._model.write_weights)
            self._lines.saved_last(path)

    def finish(self, best: Best[K]) -> None:
        """Export the best epoch, describe it, and prove that the server's code gives what training logged.

        Raises TrainError when it does not, or when a file cannot be written.
        """
        if not self._writes:
            return
        self._model.read_weights(self._path(best.epoch))
        replace(self._folder / MODEL_ONNX, self._model.export)
        own = self._model.measure(best)
        self._lines.exported(best, own)
        with writing(self._folder / MODEL_JSON):
            artifact.write(self._model.describe({"epoch": best.epoch, **best.metrics, **own}), self._folder)
        LOG.info("Checking the artifact with the server's own code")
        check = self._model.check(best)
        answers = verify(self._folder, check)
        request = self._model.quantization()
        if request is not None:
            closing.quantize(self._folder, Reference(check.files, answers, len(answers), check.metric), request)
        self._lines.finished(best, self._folder, names(self._folder))

    def rescue(self, best: Best[K] | None) -> str:
        """Finish the best epoch before a divergence, and return what to tell of it.

        What cannot be proven must not be served: the folder then keeps the native weights alone.
        """
        if best is None:
            return "no epoch had ended before, so there is no model"
        try:
            self.finish(best)
        except TrainError as error:
            LOG.error("The best epoch before, %d, cannot be served: %s", best.epoch, error)
            for name in (MODEL_ONNX, MODEL_JSON):
                (self._folder / name).unlink(missing_ok=True)
            return f"epoch {best.epoch}, the best before, is too broken to be served: only its native weights are kept"
        return f"epoch {best.epoch}, the best before, is kept"

    def _write_companions(self) -> None:
        for name, write in self._model.companions().items():
            replace(self._folder / name, write)

    def _path(self, epoch: int) -> Path:
        return self._folder / self._model.weights.format(epoch + 1)

    def _is_kept(self, epoch: int) -> bool:
        every = self._model.checkpoint_frequency
        return every is not None and (epoch + 1) % every == 0
